"""Train and judge the presets; write ``bench/quality.md``: behind `make scoreboard`.

    python bench/quality.py                       every row, every seed
    python bench/quality.py cifar10/conv          one row; also cifar10, conv, */pca-*
    python bench/quality.py --page                only the page, from what is kept

One process a row and seed, on one core and one thread. What was measured is kept in
``bench/scoreboard/`` and not measured again while its settings and code stand; a
training that was cut off goes on from its checkpoint.
"""

import argparse
import fnmatch
import os
import pathlib
import shutil
import subprocess
import sys

from quality import kept
from quality.alone import ALONE, keep_to_one_core
from quality.datasets import DATASETS, Absent
from quality.rows import ROWS, Row, Unknown, find

HERE = pathlib.Path(__file__).parent
KEPT = HERE / "scoreboard"
WORK = HERE / ".scoreboard-work"
SKIPPED = 10


def main() -> int:
    """Measure what was asked for and is due, then write the page."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("rows", nargs="*", default=["*/*"], metavar="ROW")
    parser.add_argument("--seeds", type=int, nargs="+", help="only these")
    parser.add_argument("--again", action="store_true", help="though figures stand")
    parser.add_argument("--page", action="store_true", help="measure nothing")
    parser.add_argument("--one", type=int, metavar="SEED", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    if flags.one is not None:
        return one(*flags.rows[0].split("/"), flags.one)
    failed = [] if flags.page else run(flags)
    from quality import page

    print(f"{page.write(KEPT, HERE)} written")
    for name in failed:
        print(f"{name} failed", file=sys.stderr)
    return int(bool(failed))


def run(flags: argparse.Namespace) -> list[str]:
    """Measure each row and seed that is due; return those that failed."""
    failed = []
    for dataset, row in asked(flags.rows):
        for seed in row.seeds:
            name = f"{dataset}/{row.name}"
            if flags.seeds and seed not in flags.seeds:
                continue
            if not flags.again and stands(dataset, row, seed):
                print(f"── {name}, seed {seed}: stands", flush=True)
                continue
            print(f"── {name}, seed {seed}", flush=True)
            if flags.again:
                shutil.rmtree(WORK / dataset / row.name, ignore_errors=True)
            command = [sys.executable, __file__, name, "--one", str(seed)]
            done = subprocess.run(command, env=os.environ | ALONE, check=False)
            if done.returncode not in (0, SKIPPED):
                failed.append(f"{name}, seed {seed}")
    return failed


def asked(patterns: list[str]) -> list[tuple[str, Row]]:
    """Return the pairs of dataset and row that a pattern names.

    Raises:
        SystemExit: A pattern names none.
    """
    pairs = [
        (dataset, row)
        for dataset in DATASETS
        for row in ROWS
        if not row.datasets or dataset in row.datasets
    ]
    found: dict[tuple[str, str], tuple[str, Row]] = {}
    for pattern in patterns:
        hits = [(dataset, row) for dataset, row in pairs
                if fnmatch.fnmatch(f"{dataset}/{row.name}", pattern)
                or pattern in (dataset, row.name)]  # fmt: skip
        if not hits:
            names = ", ".join(f"{dataset}/{row.name}" for dataset, row in pairs)
            raise SystemExit(f"no row is called {pattern!r}; there are {names}")
        found |= {(dataset, row.name): (dataset, row) for dataset, row in hits}
    return list(found.values())


def stands(dataset: str, row: Row, seed: int) -> bool:
    """Return whether the figures of a row and seed are kept, and still hold."""
    try:
        wanted = kept.identity(row, DATASETS[dataset], seed)
    except Unknown:
        return False  # its own process says why
    return kept.stands(kept.path(KEPT, dataset, row.name, seed), wanted)


def one(dataset: str, name: str, seed: int) -> int:
    """Measure one row and seed in this process, on one core."""
    keep_to_one_core()
    from quality.measure import measure

    try:
        found = measure(find(name), DATASETS[dataset], seed, WORK)
    except (Absent, Unknown) as reason:
        print(f"   skipped: {reason}", flush=True)
        return SKIPPED
    kept.write(kept.path(KEPT, dataset, name, seed), found)
    shown = {key: value for key, value in found["figures"].items()
             if isinstance(value, int | float)}  # fmt: skip
    print("   " + ", ".join(f"{key} {value:.4g}" for key, value in shown.items()))
    return 0


if __name__ == "__main__":
    sys.exit(main())
