"""What an entry costs the one process that plans a night, in time and in memory.

The work itself spreads over hosts; the plan does not: one process compares the whole
listing with the whole image table. ``python bench/inventory.py [ENTRIES …]`` does so
for corpora of several sizes, a hundredth of them new, each in a process of its own,
and prints one JSON line a figure: what each further million entries costs.
"""

import hashlib
import json
import logging
import multiprocessing
import pathlib
import resource
import sys
import tempfile
import time
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from pipelines.config import Settings
from pipelines.engine import parts, screening
from pipelines.lake import inventory, tables
from pipelines.lake import run as runs
from pipelines.lake.layout import Lake
from pipelines.lake.run import Run

ENTRIES = (250_000, 1_000_000, 2_000_000)
SHARD_ROWS = 1024
NEW = 100
"""One entry in so many is new."""
MILLION = 1_000_000


class Cost(NamedTuple):
    """What planning one night cost.

    Attributes:
        diff_s: Seconds to find what is due, new and gone.
        corpus_s: Seconds to list the accepted images, as transform and encode do.
        peak_mib: Peak memory of the process.
    """

    diff_s: float
    corpus_s: float
    peak_mib: float


def images(run: Run, count: int) -> pa.Table:
    """Return an image table of ``count`` accepted entries."""
    numbers = range(count)
    ids = [hashlib.sha256(number.to_bytes(8)).hexdigest() for number in numbers]
    shards = [
        f"{run.image_spec_id}/{run.night}/{number // SHARD_ROWS:016x}.tfrecord"
        for number in numbers
    ]
    columns = {
        "source_uri": [f"/source/{n % 1000:03}/{n:012}.jpg" for n in numbers],
        "image_id": ids,
        "status": ["accepted"] * count,
        "label": [f"{n % 1000:03}" for n in numbers],
        "split": ["train"] * count,
        "night": pa.array(np.full(count, run.date, "datetime64[D]")),
        "width": np.full(count, 500, np.int32),
        "height": np.full(count, 400, np.int32),
        "format": ["jpeg"] * count,
        "bytes": np.arange(count) + 50_000,
        "modified": pa.array(np.full(count, 1_700_000_000_000_000)).cast(
            pa.timestamp("us", tz="UTC")
        ),
        "shard": shards,
        "row": (np.arange(count) % SHARD_ROWS).astype(np.int32),
        "run_id": [run.run_id] * count,
    }
    empty = [name for name in tables.IMAGES_SCHEMA.names if name not in columns]
    columns |= {name: pa.nulls(count) for name in empty}
    wanted = tables.numbered(tables.IMAGES_SCHEMA)
    return pa.table({name: columns[name] for name in wanted.names}).cast(wanted)


def listing(count: int) -> pa.Table:
    """Return what a source lists: the same entries, and a hundredth of new ones."""
    numbers = range(count + count // NEW)
    columns = {
        "source_uri": [f"/source/{n % 1000:03}/{n:012}.jpg" for n in numbers],
        "bytes": np.arange(len(numbers)) + 50_000,
        "modified": np.full(len(numbers), 1_700_000_000_000_000),
        "label": [f"{n % 1000:03}" for n in numbers],
        "split": ["train"] * len(numbers),
        "container": [""] * len(numbers),
    }
    schema = screening.ENTRY_SCHEMA
    empty = [name for name in schema.names if name not in columns]
    columns |= {name: pa.nulls(len(numbers)) for name in empty}
    return pa.table({name: columns[name] for name in schema.names}).cast(schema)


def prepare(folder: str, count: int) -> str:
    """Publish an image table of ``count`` entries; return where the listing stands."""
    lake = Lake(folder, "bench")
    run = _run(lake, "2026-01-01")
    tables.ensure(lake)
    tables.load(lake, "images").append(images(run, count))
    path = str(pathlib.Path(folder) / "listing.arrow")
    with (
        pa.OSFile(path, "wb") as sink,
        pa.ipc.new_file(sink, screening.ENTRY_SCHEMA) as out,
    ):
        out.write_table(listing(count))
    return path


def plan(folder: str, path: str, count: int) -> Cost:
    """Plan a night of the corpus in ``folder``, whose source lists ``path``."""
    lake = Lake(folder, "bench")
    run = _run(lake, "2026-01-02")
    runs.pin(run)
    listed = pa.ipc.open_file(pa.memory_map(path)).read_all()
    began = time.perf_counter()
    found = inventory.diff(run, listed, ["/source"])
    diffed = time.perf_counter()
    if found.counts["new"] != count // NEW or found.counts["known"] != count:
        raise RuntimeError(f"the plan is wrong: {found.counts}")
    parts.corpus(run)
    done = time.perf_counter()
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**10
    return Cost(diffed - began, done - diffed, peak)


def _run(lake: Lake, night: str) -> Run:
    settings = Settings.model_validate({"source": {"path": "/source"}})
    base = tables.main_ids(lake)
    return Run(lake, f"{night}-1", night, settings, "auto", False, *base)


def slope(sizes: list[int], values: list[float]) -> float:
    """Return what each further million entries adds, by least squares."""
    return float(np.polyfit(np.array(sizes) / MILLION, values, 1)[0])


def main(sizes: list[int]) -> None:
    """Measure every size and print the figures."""
    fresh = multiprocessing.get_context("spawn")
    costs = []
    for count in sizes:
        with tempfile.TemporaryDirectory() as folder:
            with fresh.Pool(1) as pool:
                path = pool.apply(prepare, (folder, count))
            with fresh.Pool(1) as pool:  # its peak is the plan's alone
                costs.append(pool.apply(plan, (folder, path, count)))
        print(f"{count} entries: {costs[-1]}", file=sys.stderr)
    named = (
        ("compare listing and image table", "diff_s", "s a million entries"),
        ("list the corpus", "corpus_s", "s a million entries"),
        ("peak memory", "peak_mib", "MiB a million entries"),
    )
    for what, field, unit in named:
        values = [getattr(cost, field) for cost in costs]
        line = {
            "name": f"plan a night, 1 % new: {what}",
            "ours": round(slope(sizes, values), 2),
            "unit": unit,
            "note": "; ".join(
                f"{value:.1f} at {size:,}"
                for size, value in zip(sizes, values, strict=True)
            ),
        }
        print(json.dumps(line))


if __name__ == "__main__":
    logging.getLogger("pyiceberg").setLevel(logging.ERROR)
    main([int(word) for word in sys.argv[1:]] or list(ENTRIES))
