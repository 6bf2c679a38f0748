"""Ingest: screen what the source has new or changed into shards and an inventory."""

import itertools
import logging
import time
from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from pipelines.engine import job as jobs
from pipelines.engine import screening, watch
from pipelines.engine.screening import ScreenPlan
from pipelines.errors import ArtifactMismatch
from pipelines.lake import inventory, lease, ranges, shards, store
from pipelines.lake.inventory import Due
from pipelines.lake.run import Run
from pipelines.lake.shards import Inventory
from pipelines.records import Chunk, Entry, StageResult
from pipelines.sources import registry
from pipelines.stages import bad_night
from pipelines.stages.bad_night import Rejected

LIST_BLOCK = 50_000
"""So many entries of a listing are Python objects at a time."""
GATHERED_AT_ONCE = 16
"""So many inventories are asked of a bucket at a time: each waits for its answer."""
RECORD_BYTES = 256
"""What a shard and its inventory need for an image beside its pixels, about."""

log = logging.getLogger(__name__)


def run(run: Run, beam_flags: list[str]) -> StageResult:
    """Screen what is new or changed in the source into shards and inventory rows."""
    listing = _listing(run)
    roots = registry.open_source(run.settings.source).roots()
    found = inventory.diff(run, listing, roots)
    counts = dict(found.counts)
    bad_night.check_listing(counts, run.settings.limits, run.settings.source.path)
    if run.dry_run:
        return _only_said(counts)
    if not (found.due.num_rows or found.gone.num_rows):
        note = f"nothing is new, changed or gone among {counts['listed']} entries"
        return StageResult(counts=counts, note=note, skipped=True)
    done, screened = _screen(run, found, beam_flags)
    tonight = pa.concat_tables(
        [shards.INVENTORY_SCHEMA.empty_table(), *(one.rows for one in done)]
    )
    rejections = _judge(run, done, tonight)
    resolved = inventory.stage(run, tonight, found.gone["source_uri"].to_pylist())
    return StageResult(
        counts=_added_up(counts, resolved.counts) | screened.counts,
        figures=screened.figures | {"rejections": rejections},
        read={"source": run.settings.source.path},
        wrote={"inventory": run.path(inventory.STAGED)},
    )


def _listing(run: Run) -> pa.Table:
    """Return what the source lists, by URI; a run lists once, whatever is retried."""
    path = run.path("listing.arrow")
    if not store.exists(path):
        source = registry.open_source(run.settings.source)
        log.info("ingest: listing %s", run.settings.source.path)
        found = _table_of(source.list()).sort_by("source_uri")
        with lease.hold(run.lake, run.run_id):  # of two processes, the first one's
            if not store.exists(path):
                ranges.write(path, found)
    return ranges.read(path)


def _table_of(entries: Iterable[Entry]) -> pa.Table:
    schema = screening.ENTRY_SCHEMA
    coming = iter(entries)
    parts = [schema.empty_table()]
    while block := list(itertools.islice(coming, LIST_BLOCK)):
        columns = zip(*block, strict=True)
        arrays = [
            pa.array(values, field.type)
            for values, field in zip(columns, schema, strict=True)
        ]
        parts.append(pa.Table.from_arrays(arrays, schema=schema))
    return pa.concat_tables(parts)


class Screened(NamedTuple):
    """What the Beam job has to say of itself.

    Attributes:
        counts: Chunks, and those of them that were done before.
        figures: Measured values.
    """

    counts: dict[str, int]
    figures: dict[str, Any]


def _screen(
    run: Run, found: Due, beam_flags: list[str]
) -> tuple[list[Inventory], Screened]:
    """Screen what is due; return each chunk's inventory, and figures of the work."""
    due = found.due.num_rows
    if not due:
        return [], Screened({}, {})
    chunks = _chunks(run, found.due)
    plan = _plan(run, found)
    paths = [plan.lake.shard_file(plan.shard(chunk)) for chunk in chunks]
    files = [shards.inventory_file(path) for path in paths]
    from pipelines.engine import ingest_job, tally  # Beam: only where there is work

    log.info("ingest: %d entries in %d chunks", due, len(chunks))
    tallies = run.path("tally-ingest.json")
    began = time.perf_counter()
    with watch.watching(files, "ingest: chunks"):
        job = jobs.of(run, "ingest", beam_flags).making(files)
        ingest_job.run(chunks, plan, job, tallies)
    seconds = time.perf_counter() - began
    counts = {"chunks": len(chunks), "skipped": tally.take(tallies)["skipped"]}
    figures = {"images_per_s": round(due / seconds, 1), "seconds": round(seconds, 3)}
    return _gathered(chunks, files), Screened(counts, figures)


def _chunks(run: Run, due: pa.Table) -> list[Chunk]:
    """Write the list of what is due for the workers, and cut it up."""
    image = run.settings.image
    pixels = image.height * image.width * image.channels
    needed = due.num_rows * (pixels + RECORD_BYTES)
    store.require_free(run.lake.root, needed, "ingest")
    path = run.path("due.arrow")
    ranges.write(path, due)
    size = screening.chunk_entries(run.settings.engine.chunk_size, image)
    return screening.chunks_of(due, path, size, run.image_spec_id)


def _plan(run: Run, found: Due) -> ScreenPlan:
    known = run.path("known.sha256") if len(found.known_ids) else None
    if known:
        screening.write_known(known, found.known_ids.to_pylist())
    source = run.settings.source
    if source.kind == "auto":  # judged once, not by every worker
        source = source.model_copy(update={"kind": registry.detect(source)})
    return ScreenPlan(run.lake, run.night, source, run.settings.image, known)


def _gathered(chunks: list[Chunk], files: list[str]) -> list[Inventory]:
    """Return the inventory of each chunk; every entry must have left its row."""
    at_once = 1 if store.is_local(files[0]) else GATHERED_AT_ONCE
    with ThreadPoolExecutor(at_once) as pool:
        done = list(pool.map(shards.read_inventory, files))
    for chunk, file, one in zip(chunks, files, done, strict=True):
        if one.rows.num_rows != chunk.stop - chunk.start:
            raise ArtifactMismatch(
                f"{file}: has {one.rows.num_rows} rows for "
                f"{chunk.stop - chunk.start} entries. Delete it and run ingest again."
            )
    return done


def _judge(run: Run, done: list[Inventory], tonight: pa.Table) -> dict[str, int]:
    """Return the rejections by reason, unless they make the night a bad one."""
    limits = run.settings.limits
    rows = tonight.filter(pc.equal(tonight["outcome"], "rejected"))
    columns = (rows["reason"].to_pylist(), rows["source_uri"].to_pylist())
    bad_night.check_rejections(map(Rejected, *columns), tonight.num_rows, limits)
    bad_night.check_blank(sum(one.blank for one in done), _images(tonight), limits)
    return dict(Counter(columns[0]).most_common())


def _images(tonight: pa.Table) -> int:
    """Return how many images the chunks of tonight decoded."""
    decoded = tonight.filter(pc.equal(tonight["outcome"], "decoded"))
    return decoded.group_by(["shard", "row"]).aggregate([]).num_rows


def _added_up(counts: dict[str, int], resolved: dict[str, int]) -> dict[str, int]:
    """Return all counts of the night; touched entries turned out to be known."""
    touched = resolved.pop("touched")
    moved = {
        "changed": counts["changed"] - touched,
        "known": counts["known"] + touched,
    }
    return resolved | counts | moved | {"touched": touched}


def _only_said(counts: dict[str, int]) -> StageResult:
    note = (
        f"a dry run: {counts['new']} new and {counts['changed']} changed entries would "
        f"be screened, {counts['gone']} marked as gone; nothing was decoded"
    )
    return StageResult(counts=counts, note=note, skipped=True)
