"""What each further image costs each stage, and the cores that a corpus asks for.

Two first nights of photographs in full settings (64 px, RGB, preset conv), one
of a corpus several times as large as the other: what the larger one costs more, by the
stages' own manifests, is the price of an image; start-up falls out. From it follow the
cores that must work so that a corpus is done within a night of eight hours.

    python bench/scaling.py [--data FOLDER] [--times 4]
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import tempfile

import pyarrow.parquet as pq

from pipelines.lake import manifest
from pipelines.lake.layout import Lake

DATA = pathlib.Path(__file__).parents[2] / "shared" / "data" / "grocery"
SPREAD = ("ingest", "transform", "encode")
"""Stages whose work grows with the corpus, and spreads over hosts."""
NIGHT_S = 8 * 3600
CORPORA = (1, 100, 10_000)
"""Millions of images."""
SETTINGS = """
[source]
path = "{source}"
[encoder]
preset = "conv"
[train]
epochs = 1
[gate]
min_gain = -100.0
knn_margin = 100.0
psnr_margin = 100.0
[engine]
workers = 1
"""


def main() -> None:
    """Run both nights and print what follows from them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, default=DATA)
    parser.add_argument("--times", type=int, default=4)
    given = parser.parse_args()
    if not given.data.is_dir():
        print(json.dumps({"name": "the photographs are not here: skipped"}))
        return
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    with tempfile.TemporaryDirectory(prefix="latentlake-scaling-") as folder:
        small, large = (
            night(pathlib.Path(folder), given.data, times) for times in (1, given.times)
        )
    images = large["images"] - small["images"]
    for stage in (*SPREAD, "train"):
        seconds = (large[stage] - small[stage]) / images
        say(f"{stage}, an image more", seconds * 1e6, "CPU-µs")
        if stage == "train":
            continue  # an epoch of at most transform.max_train_images, on one host
        for millions in CORPORA:
            cores = seconds * millions * 1e6 / NIGHT_S
            say(f"{stage}, {millions:,} million images in 8 h", cores, "cores")


def night(folder: pathlib.Path, data: pathlib.Path, times: int) -> dict[str, float]:
    """Return the images of one first night, and the CPU-seconds of its stages."""
    source = folder / f"photographs-{times}"
    for copy in range(times):
        unpack(data, source / f"copy-{copy}", copy)
    settings = folder / f"photographs_{times}.toml"
    settings.write_text(SETTINGS.format(source=source))
    lake = Lake(str(folder / "lake"), settings.stem)
    command = [sys.executable, "-m", "pipelines", "night", str(settings)]
    command += ["--lake", lake.root, "--night", "2026-01-01"]
    subprocess.run(command, check=True, stdout=sys.stderr)
    stages = (*SPREAD, "train")
    told = {stage: manifest.read(lake, "2026-01-01-1", stage) or {} for stage in stages}
    found = {stage: told[stage]["cost"]["cpu_s"] for stage in stages}
    return found | {"images": told["ingest"]["counts"]["accepted"]}


def unpack(data: pathlib.Path, to: pathlib.Path, copy: int) -> None:
    """Write the photographs as files; each copy has other bytes, and so is new."""
    for file in sorted(data.glob("*.parquet")):
        table = pq.read_table(file, columns=["path", "image"])
        for path, image in zip(*table.to_pydict().values(), strict=True):
            target = to / file.stem / path.lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            mark = f"copy {copy}".encode() if copy else b""
            target.write_bytes(image + mark)


def say(name: str, ours: float, unit: str) -> None:
    """Print one figure."""
    print(json.dumps({"name": name, "ours": float(f"{ours:.3g}"), "unit": unit}))


if __name__ == "__main__":
    main()
