"""Measure transform: analyse, transform and write together, for each CIFAR-10 image.

CPU time of one process on one core, less that of a job of 64 images, which is stated
apart. One night, nothing in the analyzer cache; then the same again with it.

    python bench/transform.py [--images 20000] [--rounds 3]
"""

# ruff: noqa: E402 - the core is pinned before TensorFlow counts them

import argparse
import hashlib
import json
import os
import pathlib
import tempfile
import time

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})

import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg

from pipelines import config
from pipelines.lake import inventory, shards, store, tables
from pipelines.lake.layout import Lake
from pipelines.lake.run import Run
from pipelines.lake.shards import INVENTORY_SCHEMA, ShardImage
from pipelines.stages import transform

DATA = pathlib.Path(__file__).parents[2] / "shared" / "data" / "cifar10"
CHUNK = 1024
TINY = 64
LIMIT = 80.0


def main() -> None:
    """Print the figures as JSON, one a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, default=DATA)
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    flags = parser.parse_args()
    if not flags.data.is_dir():
        print(json.dumps({"name": "CIFAR-10 is not beside this checkout: skipped"}))
        return
    with tempfile.TemporaryDirectory() as root:
        for kind in ("per_channel", "per_pixel"):
            tiny = new_run(f"{root}/{kind}/tiny", flags.data, TINY, kind)
            whole = new_run(f"{root}/{kind}/whole", flags.data, flags.images, kind)
            measure(tiny, whole, flags.images, flags.rounds)


def measure(tiny: Run, whole: Run, images: int, rounds: int) -> None:
    """Print what an image costs, and what a job costs before its first image."""
    stage(tiny)  # imports are paid before anything is measured
    best = dict.fromkeys(("start", "whole", "cached start", "cached"), 1e9)
    for _ in range(rounds):
        best["start"] = min(best["start"], stage(tiny))
        best["whole"] = min(best["whole"], stage(whole))
        again = stage(tiny, keep_cache=True)
        best["cached start"] = min(best["cached start"], again)
        best["cached"] = min(best["cached"], stage(whole, keep_cache=True))
    kind = whole.settings.transform.normalise
    for name, which, start in (
        ("", "whole", "start"),
        (", analysis cached", "cached", "cached start"),
    ):
        each = (best[which] - best[start]) / (images - TINY) * 1e6
        say(f"transform, {kind}{name}", each, LIMIT)
    say(f"transform, {kind}, start-up", best["start"] * 1e6, None)


def stage(run: Run, *, keep_cache: bool = False) -> float:
    """Return the CPU seconds of the stage; what it made before is taken away first."""
    for name in store.names(run.lake.own("transforms")):
        if name != "cache" or not keep_cache:
            store.delete(run.lake.transform(name))
    store.delete(run.lake.own("examples"))
    start = time.process_time()
    transform.run(run, [])
    return time.process_time() - start


def new_run(root: str, data: pathlib.Path, images: int, normalise: str) -> Run:
    """Return a run with the first training images of CIFAR-10 in shards."""
    settings = config.parse(
        {
            "source": {"path": "/cifar10"},
            "image": {"height": 32, "width": 32},
            "encoder": {"preset": "conv", "widths": [8, 8]},
            "transform": {"normalise": normalise},
            "engine": {"workers": 1},
        },
        origin="bench",
    )
    lake = Lake(root, "bench")
    tables.ensure(lake)
    base = tables.main_ids(lake)
    run = Run(lake, "2026-01-01-1", "2026-01-01", settings, images_base=base.images)
    rows = []
    for start, chunk in enumerate(chunks(data, images)):
        name = f"{run.image_spec_id}/2026-01-01/{start:016x}.tfrecord"
        shards.write_shard(lake.shard_file(name), chunk)
        rows += [as_row(name, row, image) for row, image in enumerate(chunk)]
    inventory.stage(run, pa.Table.from_pylist(rows, schema=INVENTORY_SCHEMA), [])
    return run


def chunks(folder: pathlib.Path, images: int) -> list[list[ShardImage]]:
    """Return the first ``images`` training images, decoded, in chunks."""
    found: list[ShardImage] = []
    for path in sorted(folder.glob("train*.parquet")):
        table = pq.read_table(path, columns=["image", "label"])
        pairs = zip(table["image"], table["label"], strict=True)
        for encoded, label in pairs:
            if len(found) == images:
                break
            data = encoded.as_py()
            digest = hashlib.sha256(data).hexdigest()
            pixels = simplejpeg.decode_jpeg(data, "RGB")
            found.append(ShardImage(digest, pixels, str(label)))
    return [found[start : start + CHUNK] for start in range(0, len(found), CHUNK)]


def as_row(shard: str, row: int, image: ShardImage) -> dict[str, object]:
    """Return the inventory's row of an image."""
    return dict.fromkeys(INVENTORY_SCHEMA.names) | {
        "source_uri": f"/cifar10/{shard}/{row:04}",
        "image_id": image.image_id,
        "outcome": "decoded",
        "label": image.label,
        "shard": shard,
        "row": row,
    }


def say(name: str, ours: float, limit: float | None) -> None:
    """Print one figure."""
    figure: dict[str, object] = {"name": name, "ours": round(ours, 2)}
    if limit is None:
        figure["unit"] = "CPU-µs a job"
    else:
        ratio = round(ours / limit, 3)
        figure |= {"limit": limit, "ratio": ratio, "unit": "CPU-µs an image"}
        figure["target"] = "<= 80"
    print(json.dumps(figure, ensure_ascii=False), flush=True)


if __name__ == "__main__":
    main()
