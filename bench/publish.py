"""Publish 50,000 rows of 128 numbers, and move ``main``: seconds against their limits.

``python bench/publish.py [ROWS]`` prints one JSON line a figure.
"""

import contextlib
import hashlib
import json
import logging
import pathlib
import sys
import tempfile
import time
from collections.abc import Iterator

import numpy as np
import pyarrow as pa
from pyarrow import parquet

from pipelines.config import Settings
from pipelines.lake import branches, inventory, pointer, store, tables
from pipelines.lake import run as runs
from pipelines.lake.layout import Lake
from pipelines.lake.run import Run
from pipelines.lake.shards import INVENTORY_SCHEMA
from pipelines.lake.staged import latents_file
from pipelines.stages import publish

ROWS = 50_000
WIDTH = 128
SHARD_ROWS = 1024
SPACE = "0123456789abcdef"
LIMITS = {"publish": 2.0, "publish_move_main": 0.2}


def begin(lake: Lake, night: str) -> Run:
    """Return a run pinned to the tables as they are."""
    tables.ensure(lake)
    base = tables.main_ids(lake)
    settings = Settings.model_validate({"source": {"path": "/source"}})
    run = Run(lake, f"{night}-1", night, settings, "auto", False, *base)
    runs.pin(run)
    return run


def stage(run: Run, first: int, count: int) -> None:
    """Stage images ``first`` and on, as ingest and encode would leave them."""
    rng = np.random.default_rng(first)
    rows = []
    for start in range(first, first + count, SHARD_ROWS):
        numbers = range(start, min(start + SHARD_ROWS, first + count))
        ids = [hashlib.sha256(str(number).encode()).hexdigest() for number in numbers]
        shard = f"{run.image_spec_id}/{run.night}/{start:012}.tfrecord"
        rows += [
            {
                "source_uri": f"/source/{number % 10}/{number}.png",
                "image_id": image_id,
                "outcome": "decoded",
                "label": str(number % 10),
                "width": 32,
                "height": 32,
                "format": "png",
                "bytes": 2000 + number,
                "modified": 1_700_000_000 + number,
                "shard": shard,
                "row": row,
            }
            for row, (number, image_id) in enumerate(zip(numbers, ids, strict=True))
        ]
        _write_latents(run, shard, ids, rng)
    inventory.stage(run, pa.Table.from_pylist(rows, INVENTORY_SCHEMA), [])


def _write_latents(
    run: Run, shard: str, ids: list[str], rng: np.random.Generator
) -> None:
    values = rng.normal(size=(len(ids), WIDTH)).astype(np.float32)
    offsets = np.arange(len(ids) + 1, dtype=np.int32) * WIDTH
    table = pa.table(
        {
            "image_id": ids,
            "row": pa.array(range(len(ids)), pa.int32()),
            "latent": pa.ListArray.from_arrays(offsets, values.ravel()),
            "reconstruction_error": np.full(len(ids), 0.01, np.float32),
        }
    )
    with store.aside(latents_file(run.lake, SPACE, shard)) as file:
        parquet.write_table(table, file, compression="zstd")


@contextlib.contextmanager
def timed_moves() -> Iterator[list[float]]:
    """Yield the seconds of each move of ``main``, as they come."""
    seconds: list[float] = []
    move = branches.move

    def timed(lake: Lake, draft: branches.Draft) -> bool:
        began = time.perf_counter()
        moved = move(lake, draft)
        seconds.append(time.perf_counter() - began)
        return moved

    branches.move = timed
    try:
        yield seconds
    finally:
        branches.move = move


def main(rows: int) -> None:
    """Measure a first night of ``rows`` and a second one of a hundredth of it."""
    with tempfile.TemporaryDirectory() as folder:
        lake = Lake(str(pathlib.Path(folder) / "lake"), "bench")
        figures = {}
        for name, night, first, count in (
            ("publish", "2026-01-01", 0, rows),
            ("publish_1_percent_more", "2026-01-02", rows, max(rows // 100, 1)),
        ):
            run = begin(lake, night)
            card = {
                "space_id": SPACE,
                "latent_dim": WIDTH,
                "image_spec_id": run.image_spec_id,
            }
            store.write_json(lake.encoder(SPACE, "card.json"), card)
            pointer.accept(lake, SPACE, run, eval_error=0.01)
            stage(run, first, count)
            with timed_moves() as moves:
                began = time.perf_counter()
                publish.run(run, [])
                figures[name] = time.perf_counter() - began
            figures.setdefault("publish_move_main", max(moves))
    for name, value in figures.items():
        line = {
            "name": name,
            "ours": round(value, 3),
            "unit": "s",
            "note": f"{rows} rows",
        }
        if name in LIMITS:
            line |= {"limit": LIMITS[name], "ratio": round(value / LIMITS[name], 3)}
        print(json.dumps(line))


if __name__ == "__main__":
    logging.getLogger("pyiceberg").setLevel(logging.ERROR)
    main(int(sys.argv[1]) if len(sys.argv) > 1 else ROWS)
