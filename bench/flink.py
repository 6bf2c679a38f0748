"""Measure ingest on Flink against this machine alone: photographs to 224 pixels.

The grocery photographs several times over (a comment in each file makes it another
image), local with 1 and 2 threads, on Flink with 1 and 2 hosts of one core each. What
a tiny job costs is taken off and stated apart. Hosts are network namespaces of this
machine, so that the job manager, the job server and the submitter share its cores.

    python bench/flink.py [--images 16000] [--rounds 2] [--folder FOLDER]
"""

import argparse
import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile
from typing import Any, NamedTuple

import pyarrow as pa
from pyarrow import parquet

ROOT = pathlib.Path(__file__).parents[1]
SHARED = ROOT.parent / "shared" / "data"
SIDE = 224
TINY = 32
CHUNK = 256
NIGHT = "2026-01-01"

sys.path.insert(0, str(ROOT / "deploy" / "flink"))

import flink_cluster  # noqa: E402  # from the folder just named
import flink_install  # noqa: E402
import flink_network  # noqa: E402


class Way(NamedTuple):
    """One way to run the stage.

    Attributes:
        name: What it is called.
        engine: Its settings.
        cores: The cores it may use, ``None`` for all.
    """

    name: str
    engine: dict[str, Any]
    cores: str | None = None


def main() -> None:
    """Print the figures as JSON, one a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, default=SHARED)
    parser.add_argument("--folder", help="where all is written (else in /tmp)")
    parser.add_argument("--images", type=int, default=16_000)
    parser.add_argument("--rounds", type=int, default=2)
    flags = parser.parse_args()
    why = flink_install.lacking() or flink_network.refused()
    if not (flags.data / "grocery").is_dir():
        why = "the grocery photographs are not beside this checkout"
    if why:
        print(json.dumps({"name": f"skipped: {why}"}))
        return
    with tempfile.TemporaryDirectory(dir=flags.folder) as scratch:
        work = pathlib.Path(scratch)
        files = sorted((flags.data / "grocery").glob("*.parquet"))
        write(files, work / "many.parquet", flags.images)
        write(files, work / "tiny.parquet", TINY)
        rates, fixed = {}, {}
        for way in ways_here():
            rates[way.name], fixed[way.name] = measured(work, way, flags)
        for hosts in (1, 2):
            home = work / f"flink-{hosts}"
            with flink_cluster.serving(home, hosts=hosts, cores=True) as cluster:
                name = f"Flink, {hosts} host{'s' * (hosts > 1)}"
                way = Way(name, cluster.engine())
                rates[way.name], fixed[way.name] = measured(work, way, flags)
        tell(rates, fixed, flags.images)


def ways_here() -> list[Way]:
    """Return the ways without a cluster."""
    return [
        Way("local, 1 thread", {"workers": 1}, cores="0"),
        Way("local, 2 threads", {"workers": 2}, cores="0,1"),
    ]


def write(files: list[pathlib.Path], to: pathlib.Path, count: int) -> None:
    """Write ``count`` photographs, each with other bytes, as one Parquet file."""
    tables = [parquet.read_table(file, columns=["image", "label"]) for file in files]
    table = pa.concat_tables(tables, promote_options="permissive")
    images, labels = table["image"], table["label"]
    schema = pa.schema([("image", pa.binary()), ("label", pa.string())])
    with parquet.ParquetWriter(to, schema, compression="none") as out:
        for start in range(0, count, CHUNK):
            numbers = range(start, min(start + CHUNK, count))
            places = [number % len(images) for number in numbers]
            rows = {
                "image": [
                    another(images[place].as_py(), number)
                    for place, number in zip(places, numbers, strict=True)
                ],
                "label": [str(labels[place].as_py()) for place in places],
            }
            out.write_table(pa.table(rows, schema=schema))


def another(jpeg: bytes, number: int) -> bytes:
    """Return ``jpeg`` with a comment in it: other bytes, the same picture."""
    comment = str(number).encode()
    size = (len(comment) + 2).to_bytes(2, "big")
    return jpeg[:2] + b"\xff\xfe" + size + comment + jpeg[2:]


def measured(
    work: pathlib.Path, way: Way, flags: argparse.Namespace
) -> tuple[float, float]:
    """Return images per second without the fixed cost, and that cost in seconds."""
    tiny = min(stage(work, "tiny", way) for _ in range(flags.rounds))
    many = min(stage(work, "many", way) for _ in range(flags.rounds))
    print(f"{way.name}: {many:.1f} s, tiny {tiny:.1f} s", file=sys.stderr, flush=True)
    return (flags.images - TINY) / (many - tiny), tiny


def stage(work: pathlib.Path, source: str, way: Way) -> float:
    """Return how long the Beam job of one ingest took, in seconds."""
    sections = {
        "source": {"path": str(work / f"{source}.parquet")},
        "image": {"height": SIDE, "width": SIDE},
        "limits": {"max_rejected_fraction": 1.0},
        "engine": {"chunk_size": CHUNK, **way.engine},
    }
    lines = []
    for name, values in sections.items():
        lines.append(f"[{name}]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    (work / "bench.toml").write_text("\n".join(lines))
    lake = work / "lake"
    command = [sys.executable, "-m", "pipelines", "ingest", str(work / "bench.toml")]
    command += ["--lake", str(lake), "--night", NIGHT]
    if way.cores is not None:
        command = ["taskset", "-c", way.cores, *command]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"{' '.join(command)}\n{done.stdout}")
    manifest = lake / "bench" / "runs" / f"{NIGHT}-1" / "ingest.json"
    seconds = float(json.loads(manifest.read_text())["figures"]["seconds"])
    shutil.rmtree(lake)
    os.sync()  # what one leaves to be written is not the next one's
    return seconds


def tell(rates: dict[str, float], fixed: dict[str, float], images: int) -> None:
    """Print the figures."""
    one, two = rates["Flink, 1 host"], rates["Flink, 2 hosts"]
    threads = rates["local, 2 threads"]
    say("ingest at 224 px, Flink: 2 hosts over 1", two, one, "images/s", ">= 1.7")
    say("ingest at 224 px, Flink on 2 hosts over local with 2 threads", two, threads,
        "images/s", ">= 0.8")  # fmt: skip
    here = rates["local, 1 thread"]
    say("ingest at 224 px, Flink on 1 host over local with 1 thread", one, here,
        "images/s")  # fmt: skip
    say("ingest at 224 px, local: 2 threads over 1", threads, here, "images/s")
    for name, seconds in fixed.items():
        share = seconds / (seconds + images / rates[name])
        note = (
            f"of a job of {TINY} images, the check of the workers included; "
            * ("Flink" in name)
            + f"{share:.0%} of the job of {images:,}"
        )
        say(f"fixed cost, {name}", seconds, None, "s", note=note)


def say(
    name: str,
    ours: float,
    limit: float | None,
    unit: str,
    target: str = "",
    note: str = "",
) -> None:
    """Print one figure as JSON."""
    row: dict[str, Any] = {"name": name, "ours": ours, "unit": unit}
    if limit is not None:
        row |= {"limit": limit, "ratio": ours / limit}
    row |= {key: value for key, value in (("target", target), ("note", note)) if value}
    print(json.dumps(row), flush=True)


if __name__ == "__main__":
    # a bench that is told to stop takes its clusters with it
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    main()
