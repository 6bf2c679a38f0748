"""Transform: fit TFT's graph on the training images, write normalised examples."""

import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from models import transform as transforms
from models.spec import ImageShape
from pipelines import config
from pipelines.engine import job as jobs
from pipelines.engine import parts, watch
from pipelines.engine.parts import Part
from pipelines.errors import BadNight, ConfigError
from pipelines.lake import folders, pointer, ranges, store, tables
from pipelines.lake.run import Run
from pipelines.records import StageResult
from pipelines.stages import examples_list, retrain
from pipelines.stages.examples_list import SPLITS
from pipelines.stages.retrain import Facts
from pipelines.stages.transform_examples import ExamplePlan, Written

FLOAT_BYTES = 4
RECORD_BYTES = 128
"""What an example needs beside its image, about."""

log = logging.getLogger(__name__)


def run(run: Run, beam_flags: list[str]) -> StageResult:
    """Fit the transform and write examples, where an encoder is to be trained."""
    reason = retrain.due(_facts(run))
    if reason is None:
        return StageResult(note="no training is due tonight", skipped=True)
    if run.dry_run:
        return StageResult(note=f"a dry run: would train ({reason})", skipped=True)
    rows = parts.corpus(run)[1]
    _check_splits(run, rows)
    log.info("transform: training is due: %s", reason)
    os.environ["CUDA_VISIBLE_DEVICES"] = ""  # else TensorFlow takes the GPU's memory
    chosen = _choose(run, rows)
    began = time.perf_counter()
    transform_id, fitted_at = _fit(run, chosen, beam_flags), time.perf_counter()
    counts, done_at = _write(run, chosen, transform_id, beam_flags), time.perf_counter()
    return StageResult(
        counts=counts,
        figures={
            "reason": reason,
            "fit_seconds": round(fitted_at - began, 3),
            "write_seconds": round(done_at - fitted_at, 3),
            "images_per_s": round(rows.num_rows / (done_at - began), 1),
        },
        read={"images": rows.num_rows},
        wrote={"transform_id": transform_id},
        note=f"training is due: {reason}",
    )


def _facts(run: Run) -> Facts:
    standing = pointer.read(run.lake)
    attempts = pointer.attempts(run.lake)
    return Facts(
        night=run.night,
        retrain=run.retrain,
        settings=run.settings,
        image_spec_id=run.image_spec_id,
        accepted=_card(run, standing.space_id) if standing else None,
        tried=_card(run, attempts[-1]["space_id"]) if attempts else None,
        last_attempt=attempts[-1]["night"] if attempts else None,
        **_drift(run),
    )


def _card(run: Run, space_id: str) -> dict[str, Any] | None:
    path = run.lake.encoder(space_id, "card.json")
    return dict(store.read_json(path)) if store.exists(path) else None


def _drift(run: Run) -> dict[str, Any]:
    found = tables.snapshot_properties(run.lake, "features", run.features_base)
    said = found.get(f"{tables.PREFIX}drift")
    night = found.get(f"{tables.PREFIX}night")
    return {"drift": float(said) if said else None, "drift_night": night}


def _check_splits(run: Run, rows: pa.Table) -> None:
    """Raise :class:`BadNight` where there is nothing to train on, or to judge by."""
    for split, what in (("train", "training"), ("eval", "held-out")):
        if not pc.any(pc.equal(rows["split"], split)).as_py():
            raise BadNight(
                f"{run.lake.dataset}: there is no {what} image among {rows.num_rows} "
                "accepted ones. Look at the splits of the source, or at "
                "split.eval_fraction, then run again."
            )


def _choose(run: Run, rows: pa.Table) -> str:
    """Write the corpus list once more, with a mark at what becomes an example.

    All held-out images do, and ``max_train_images`` training images by the tail of
    their digest (the split is decided by its head).
    """
    path = run.path("examples.arrow")
    train = pc.equal(rows["split"], "train")
    places = np.flatnonzero(train.to_numpy())
    tails = pc.utf8_slice_codeunits(rows["image_id"].take(pa.array(places)), 32)
    order = pc.sort_indices(tails).to_numpy()
    marks = np.ones(rows.num_rows, bool)
    marks[places[order[run.settings.transform.max_train_images :]]] = False
    ranges.write(path, rows.append_column("example", pa.array(marks)))
    return path


def _fit(run: Run, chosen: str, beam_flags: list[str]) -> str:
    """Put the fitted transform in place, unless it stands; return its digest."""
    # TFT and Beam: only where there is work.
    from pipelines.engine import options
    from pipelines.stages import transform_fitted, transform_job

    image = run.settings.image
    facts = {
        "image_spec_id": run.image_spec_id,
        "height": image.height,
        "width": image.width,
        "channels": image.channels,
        "normalise": run.settings.transform.normalise,
    }
    plan = transform_job.FitPlan(
        run.lake,
        chosen,
        run.lake.analyzer_cache(run.image_spec_id),
        ImageShape(image.height, image.width, image.channels),
        run.settings.transform.normalise,
    )
    job = jobs.of(run, "transform", beam_flags)
    with _work(run, local=options.is_local(job)) as work:
        saved = transform_job.fit(plan, ranges.read(chosen), work, job)
        made = os.path.join(work, "made")
        transform_id = transform_fitted.seal(saved, made, facts)
        folders.place(made, run.lake.transform(transform_id), transforms.CARD)
    return transform_id


@contextlib.contextmanager
def _work(run: Run, *, local: bool) -> Iterator[str]:
    """Yield an empty folder for TFT, which every worker sees.

    It is in the run; but TensorFlow writes to no bucket. There it is a folder of this
    machine where the job is ``local``, else one in ``engine.work``.
    """
    place = run.path("transform")
    if not store.is_local(place):
        if local:
            with tempfile.TemporaryDirectory(prefix="latentlake-") as work:
                yield work
            return
        place = os.path.join(_shared(run), config.digest_of([run.lake.own(), place]))
    store.delete(place)  # what a killed run has left
    os.makedirs(place)
    try:
        yield place
    finally:
        store.delete(place)


def _shared(run: Run) -> str:
    """Return the folder that is shared by all hosts."""
    folder = run.settings.engine.work
    if folder and store.is_local(folder):
        return os.path.abspath(folder)
    raise ConfigError(
        f"engine.work: found {folder!r}. The lake {run.lake.root} is a bucket, which "
        "TensorFlow Transform cannot write to, and its workers are on other hosts: "
        "name a folder that is shared by all of them and by this machine (NFS, a "
        "mounted volume)."
    )


def _write(
    run: Run, chosen: str, transform_id: str, beam_flags: list[str]
) -> dict[str, int]:
    """Write the examples that are missing; return how many there are of each split.

    What stands is listed in the run's list of examples, with digests.
    """
    from pipelines.engine import tally
    from pipelines.stages import transform_job

    rows = ranges.read(chosen)
    marked = rows.filter(rows["example"])
    image = run.settings.image
    values = image.height * image.width * image.channels * FLOAT_BYTES
    needed = marked.num_rows * (values + RECORD_BYTES)
    store.require_free(run.lake.root, needed, "transform")
    plan = ExamplePlan(run.lake, chosen, transform_id)
    files = _files(plan, rows)
    listed, tallies = run.path(examples_list.NAME), run.path("tally-transform.json")
    written = Written(listed, tallies)
    job = jobs.of(run, "transform", beam_flags)
    with watch.watching(files, "transform: files of examples"):
        transform_job.write_examples(parts.parts_of(rows), plan, job, written)
    _sweep(plan, files)
    counts = {
        split: pc.sum(pc.equal(marked["split"], split)).as_py() or 0 for split in SPLITS
    }
    return counts | tally.take(written.tally)


def _files(plan: ExamplePlan, rows: pa.Table) -> set[str]:
    """Return the files that the examples among ``rows`` are written to."""
    marked = rows.filter(rows["example"]).group_by(["shard", "split"]).aggregate([])
    pairs = zip(marked["shard"].to_pylist(), marked["split"].to_pylist(), strict=True)
    return {plan.file(Part(shard, 0, 0), split) for shard, split in pairs}


def _sweep(plan: ExamplePlan, files: set[str]) -> None:
    """Delete examples of shards that are no longer in the corpus."""
    for split in SPLITS:
        folder = plan.lake.examples(plan.transform_id, split)
        for name in store.names(folder):
            if f"{folder}/{name}" not in files:
                store.delete(f"{folder}/{name}")
