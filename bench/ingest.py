"""Measure ingest against the hand-written loop it cannot beat, over the same files.

The limit reads each file, takes its SHA-256, decodes it and writes a TFRecord: nothing
is judged, listed against a table, or kept of what was found. Both in turn in one
process on one core, in CPU time, the best of several rounds; what a tiny job costs is
ours to start, and stated apart. Then two threads against one on photographs (wall
clock), and peak memory when the input doubles.

    python bench/ingest.py [--images 20000] [--folder FOLDER] [--rounds 3]
"""

import argparse
import hashlib
import json
import multiprocessing
import os
import pathlib
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator

import simplejpeg

from models import tfrecord
from pipelines import config
from pipelines.lake import tables
from pipelines.lake.layout import Lake
from pipelines.lake.run import Run
from pipelines.stages import ingest

SHARED = pathlib.Path(__file__).parents[2] / "shared" / "data"
TINY = 32
CHUNK = 1024


def main() -> None:
    """Print the figures as JSON, one a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, default=SHARED)
    parser.add_argument("--folder", help="where the files are unpacked (else in /tmp)")
    parser.add_argument("--images", type=int, default=20_000)
    parser.add_argument("--photographs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.one:
        folder, side, workers = flags.one
        say_one(pathlib.Path(folder), int(side), int(workers))
        return
    if not (flags.data / "cifar10").is_dir():
        print(json.dumps({"name": "CIFAR-10 is not beside this checkout: skipped"}))
        return
    with tempfile.TemporaryDirectory(dir=flags.folder) as scratch:
        work = pathlib.Path(scratch)
        cifar = sorted((flags.data / "cifar10").glob("train*.parquet"))
        unpack(flags.data, cifar, work / "cifar", flags.images)
        unpack(flags.data, cifar, work / "half", flags.images // 2)
        unpack(flags.data, cifar, work / "tiny", TINY)
        photographs = [flags.data / "grocery" / "train.parquet"]
        unpack(flags.data, photographs, work / "photographs", flags.photographs)
        unpack(flags.data, photographs, work / "few", TINY)
        threads(work / "photographs", work / "few", flags.rounds)
        memory(work)
        against_the_loop(work, flags.images, flags.rounds)


def unpack(
    data: pathlib.Path, files: list[pathlib.Path], to: pathlib.Path, limit: int
) -> None:
    """Write the first images of ``files`` as a folder tree."""
    command = [sys.executable, str(data / "unpack.py"), *map(str, files), str(to)]
    subprocess.run([*command, "--limit", str(limit)], check=True, stdout=sys.stderr)


def against_the_loop(work: pathlib.Path, images: int, rounds: int) -> None:
    """Compare the stage with the loop on one core."""
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    stage(work / "tiny", 32, 1)  # imports are paid before anything is measured
    best = dict.fromkeys(("loop", "ours", "tiny"), 1e9)
    for _ in range(rounds):
        best["tiny"] = min(best["tiny"], cpu(stage, work / "tiny", 32, 1))
        best["loop"] = min(best["loop"], cpu(loop, work / "cifar"))
        best["ours"] = min(best["ours"], cpu(stage, work / "cifar", 32, 1))
    limit = images / best["loop"]
    ours = (images - TINY) / (best["ours"] - best["tiny"])
    say("ingest, CIFAR-10 as files", ours, limit, "images/CPU-s", ">= 0.85")
    say("ingest, start-up", best["tiny"], None, "CPU-s", note="of a job of 32 images")


def loop(folder: pathlib.Path) -> None:
    """Read, hash, decode and write every file below ``folder``."""
    found = os.walk(folder)
    paths = sorted(f"{base}/{name}" for base, _, names in found for name in names)
    with tempfile.TemporaryDirectory(dir=folder.parent) as out:
        for start in range(0, len(paths), CHUNK):
            with open(f"{out}/{start}.tfrecord", "wb") as file:
                tfrecord.write_frames(file, records(paths[start : start + CHUNK]))


def records(paths: list[str]) -> Iterator[bytes]:
    """Yield an example for each of ``paths``."""
    for path in paths:
        with open(path, "rb") as file:
            data = file.read()
        pixels = simplejpeg.decode_jpeg(data, "RGB")
        height, width, channels = pixels.shape
        yield tfrecord.encode_example(
            {
                "image": pixels.tobytes(),
                "image_id": hashlib.sha256(data).hexdigest().encode(),
                "label": path.rsplit("/", 2)[1].encode(),
                "height": height,
                "width": width,
                "channels": channels,
            }
        )


def stage(folder: pathlib.Path, side: int, workers: int) -> None:
    """Run the stage on ``folder`` in a lake of its own."""
    settings = config.parse(
        {
            "source": {"path": str(folder)},
            "image": {"height": side, "width": side},
            "encoder": {"preset": "conv", "widths": [8, 8]},
            "engine": {"workers": workers, "chunk_size": CHUNK if side < 64 else 64},
            "limits": {"max_rejected_fraction": 0.0, "max_rejected_floor": 0},
        },
        origin="bench",
    )
    with tempfile.TemporaryDirectory(dir=folder.parent) as root:
        lake = Lake(root, "bench")
        tables.ensure(lake)
        base = tables.main_ids(lake)
        run = Run(lake, "2026-01-01-1", "2026-01-01", settings, images_base=base.images)
        assert not ingest.run(run, []).skipped


def threads(folder: pathlib.Path, tiny: pathlib.Path, rounds: int) -> None:
    """Compare two threads with one on photographs, start-up left out.

    It needs two cores to itself; what two bare processes gain at the same time is
    stated beside it.
    """
    stage(tiny, 224, 1)
    best = dict.fromkeys(((1, 0), (2, 0), (1, 1), (2, 1)), 1e9)
    for _ in range(rounds):
        for workers, whole in best:
            began = time.perf_counter()
            stage(folder if whole else tiny, 224, workers)
            seconds = time.perf_counter() - began
            best[workers, whole] = min(best[workers, whole], seconds)
    images = sum(path.is_file() for path in folder.rglob("*")) - TINY
    one, two = (images / (best[n, 1] - best[n, 0]) for n in (1, 2))
    name = "ingest, photographs to 224 px, 2 threads against 1"
    note = f"two bare processes gain {two_processes(rounds):.2f} here and now"
    say(name, two, one, "images/s", ">= 1.7", note)


def two_processes(rounds: int) -> float:
    """Return how much more two processes get done than one: the cores that are free."""
    best = {1: 1e9, 2: 1e9}
    for _ in range(rounds):
        for count in best:
            began = time.perf_counter()
            busy = [multiprocessing.Process(target=spin) for _ in range(count)]
            for process in busy:
                process.start()
            for process in busy:
                process.join()
            best[count] = min(best[count], time.perf_counter() - began)
    return 2 * best[1] / best[2]


def spin() -> None:
    """Keep one core busy for about half a second."""
    for number in range(10):
        hashlib.sha256(bytes([number]) * 2**25).digest()


def memory(work: pathlib.Path) -> None:
    """Compare peak memory when the input doubles; each in a process of its own."""
    half, whole = (one(work / name) for name in ("half", "cifar"))
    say("ingest, peak memory, input doubled", whole, half, "MiB", "about 1.0")


def one(folder: pathlib.Path) -> float:
    """Return the peak memory of one stage in a process of its own, in MiB."""
    command = [sys.executable, __file__, "--one", str(folder), "32", "2"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout)


def say_one(folder: pathlib.Path, side: int, workers: int) -> None:
    """Run the stage once and print the peak memory of this process."""
    import resource

    stage(folder, side, workers)
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)


def cpu(function: object, *args: object) -> float:
    """Return the CPU seconds of all threads that a call takes."""
    assert callable(function)
    start = time.process_time()
    function(*args)
    return time.process_time() - start


def say(
    name: str,
    ours: float,
    limit: float | None,
    unit: str,
    target: str = "",
    note: str = "",
) -> None:
    """Print one figure."""
    figure = {"name": name, "ours": round(ours, 2), "unit": unit}
    if limit is not None:
        figure |= {"limit": round(limit, 2), "ratio": round(ours / limit, 3)}
    figure |= {"target": target} if target else {}
    print(json.dumps(figure | ({"note": note} if note else {})), flush=True)


if __name__ == "__main__":
    main()
