"""A full CIFAR-10 night on this machine: 60,000 images, preset conv, its epochs.

Prints one JSON object a stage: seconds, peak memory, images a second; then the gate.
Then the same night again (nothing new), and one with 1 % new images.
"""

import argparse
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

import pyarrow.parquet as pq

from pipelines.lake import manifest
from pipelines.lake.layout import Lake
from pipelines.stages.perform import CHAIN

DATA = pathlib.Path(__file__).parents[2] / "shared" / "data" / "cifar10"
STAGES = (*CHAIN, "report")
SETTINGS = """
[source]
path = "{source}"
kind = "parquet"
[image]
height = 32
width = 32
channels = 3
[encoder]
preset = "conv"
"""


def main() -> None:
    """Run the nights and print their figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, default=DATA)
    data = parser.parse_args().data
    if not data.is_dir():
        print(json.dumps({"name": "CIFAR-10 is not beside this checkout: skipped"}))
        return
    with tempfile.TemporaryDirectory(prefix="latentlake-night-") as folder:
        _nights(pathlib.Path(folder), data)


def _nights(folder: pathlib.Path, data: pathlib.Path) -> None:
    source = folder / "source"
    source.mkdir()
    for path in sorted(data.glob("*.parquet")):
        shutil.copy(path, source / path.name)
    held = _hold_back(source, share=0.01)
    settings = folder / "cifar10.toml"
    settings.write_text(SETTINGS.format(source=source))
    lake = Lake(str(folder / "lake"), "cifar10")
    _night("first night", settings, lake, "2026-01-01")
    _night("nothing new", settings, lake, "2026-01-02")
    held.rename(source / held.name)
    _night("1 % new", settings, lake, "2026-01-03")


def _hold_back(source: pathlib.Path, share: float) -> pathlib.Path:
    """Take the last ``share`` of one file out of the source, into a file beside it."""
    path = sorted(source.glob("train*.parquet"))[-1]
    table = pq.read_table(path)
    count = int(60_000 * share)
    pq.write_table(table.slice(0, len(table) - count), path)
    held = source.parent / "train-held-back.parquet"
    pq.write_table(table.slice(len(table) - count), held)
    return held


def _night(name: str, settings: pathlib.Path, lake: Lake, night: str) -> None:
    command = [
        *(sys.executable, "-m", "pipelines", "night", str(settings)),
        *("--lake", lake.root, "--night", night),
    ]
    began = time.perf_counter()
    done = subprocess.run(command, check=False, stderr=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - began
    if done.returncode not in (0, 10):
        print(done.stderr, file=sys.stderr)
    note = f"exit code {done.returncode}"
    _say(f"{name}: whole", ours=round(seconds, 1), unit="s", note=note)
    for stage in STAGES:
        found = manifest.read(lake, f"{night}-1", stage)
        if found is None:
            continue
        cost = found["cost"]
        note = (
            f"{found['status']}; peak {cost['peak_mib']:,.0f} MiB; "
            f"{cost['cpu_s']:.0f} CPU-s; {_short(found['counts'])}"
        )
        if stage == "evaluate":
            note += f"; {found['note']}"
        _say(f"{name}: {stage}", ours=cost["wall_s"], unit="s", note=note)


def _short(counts: dict[str, int]) -> str:
    return ", ".join(f"{key} {value:,}" for key, value in counts.items())


def _say(name: str, **figure: object) -> None:
    print(json.dumps({"name": name, **figure}), flush=True)


if __name__ == "__main__":
    main()
