"""Encode: give every shard that lacks latents in the accepted space a file of them."""

import logging
import time

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.engine import job as jobs
from pipelines.engine import parts, watch
from pipelines.engine.parts import Part
from pipelines.errors import ArtifactMismatch, GateRefused
from pipelines.lake import pointer, store, tables
from pipelines.lake.run import Run
from pipelines.records import StageResult

FLOAT_BYTES = 4
ROW_BYTES = 64

log = logging.getLogger(__name__)


def run(run: Run, beam_flags: list[str]) -> StageResult:
    """Encode the shards whose images lack a latent in the accepted space."""
    space_id = _accepted(run)
    rows = _lacking(run, space_id)
    found = parts.parts_of(rows)
    files = {run.lake.latents(space_id, f"{part.stem}.parquet") for part in found}
    missing = len(files) - watch.finished(files)
    counts = {
        "shards": len(found),
        "images": rows.num_rows,
        "skipped": len(files) - missing,
    }
    wrote = {"space_id": space_id}
    if not missing or run.dry_run:
        note = _why_not(run, missing, rows.num_rows)
        return StageResult(counts=counts, wrote=wrote, note=note, skipped=True)
    figures, skipped = _encode(run, space_id, found, files, beam_flags)
    counts["skipped"] = skipped
    return StageResult(counts=counts, figures=figures, wrote=wrote)


def _accepted(run: Run) -> str:
    """Return the space to encode in; whether its files are sound is seen later."""
    standing = pointer.read(run.lake)
    if standing is None:
        raise GateRefused(
            f"{run.lake.dataset}: no encoder was ever accepted, so there is nothing to "
            "encode with. Look at the gate's reasons in the report of this night."
        )
    path = run.lake.encoder(standing.space_id, "card.json")
    if not store.exists(path):
        raise ArtifactMismatch(
            f"{path}: is missing, and {run.lake.accepted} points there. Restore the "
            "folder from a copy, or have an encoder trained: latentlake night "
            f"{run.lake.dataset} --retrain always"
        )
    return standing.space_id


def _lacking(run: Run, space_id: str) -> pa.Table:
    """Return the accepted images without a latent in the space, by shard and row."""
    rows = parts.corpus(run)[1]
    columns = ["image_id", "space_id"]
    known = tables.read_features(run.lake, run.features_base, columns)
    ours = known.filter(pc.equal(known["space_id"], space_id))
    return rows.filter(pc.invert(pc.is_in(rows["image_id"], ours["image_id"])))


def _why_not(run: Run, missing: int, images: int) -> str:
    if run.dry_run and missing:
        return f"a dry run: {missing} shards would be encoded; nothing was"
    if images:
        return f"the latents of all {images} new images stand already"
    return "no image lacks a latent"


def _encode(
    run: Run, space_id: str, found: list[Part], files: set[str], beam_flags: list[str]
) -> tuple[dict[str, float], int]:
    """Encode ``found``; return figures, and how many shards were done before."""
    # Beam and Keras: only where there is work.
    from pipelines.engine import encode_job, tally

    plan = encode_job.EncodePlan(run.lake, space_id, run.image_spec_id)
    images = sum(part.stop - part.start for part in found)
    width = run.settings.encoder.latent_dim * FLOAT_BYTES + ROW_BYTES
    store.require_free(run.lake.root, images * width, "encode")
    log.info("encode: %d images in %d shards", images, len(found))
    encode_job.prepare(plan)
    tallies = run.path("tally-encode.json")
    began = time.perf_counter()
    with watch.watching(files, "encode: shards"):
        job = jobs.of(run, "encode", beam_flags).making(files)
        encode_job.run(found, plan, job, tallies)
    seconds = time.perf_counter() - began
    figures = {"images_per_s": round(images / seconds, 1), "seconds": round(seconds, 3)}
    return figures, tally.take(tallies)["skipped"]
