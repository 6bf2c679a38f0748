"""Run every benchmark and write ``bench/results.md``: the command behind `make bench`.

Each script prints one JSON object a figure: ``name``, ``ours``, ``limit``, ``ratio``,
``unit``, ``target`` and ``note`` where they apply. What is compared is compared
within one run: these machines are noisy, and only ratios carry over.
"""

import argparse
import datetime
import json
import os
import pathlib
import platform
import subprocess
import sys

HERE = pathlib.Path(__file__).parent
RESULTS = HERE / "results.md"
SCRIPTS = (
    "decode", "ingest", "transform", "train", "encode", "publish", "night", "flink",
    "inventory", "scaling", "gpu_train",
)  # fmt: skip
HEAD = "| figure | ours | limit | ratio | target | unit |\n|---|---:|---:|---:|---|---|"


def main() -> None:
    """Run the chosen scripts and put their figures into the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("scripts", nargs="*", default=SCRIPTS, metavar="SCRIPT")
    chosen = parser.parse_args().scripts
    saved = HERE / "results.json"
    figures = json.loads(saved.read_text()) if saved.exists() else {}
    for name in chosen:
        print(f"── bench/{name}.py", flush=True)
        figures[name] = {"date": str(datetime.date.today()), "rows": measure(name)}
        saved.write_text(json.dumps(figures, indent=1) + "\n")
        RESULTS.write_text(page(figures), encoding="utf-8")
    print(f"{RESULTS} written")


def measure(name: str) -> list[dict[str, object]]:
    """Return the figures that one script printed, or its reason for having none."""
    command = [sys.executable, str(HERE / f"{name}.py")]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    rows = []
    for line in done.stdout.splitlines():
        print(line, flush=True)
        if line.startswith("{"):
            rows.append(json.loads(line))
    if done.returncode:
        rows.append({"name": f"failed with exit code {done.returncode}"})
    return rows


def page(figures: dict[str, dict]) -> str:
    """Return the page of all figures as Markdown."""
    parts = [
        "# Results\n",
        "Measured by `make bench` (one script: `python bench/run.py NAME`) on "
        f"{machine()}. Ratios compare two loops of one run on one pinned core unless "
        "a row says otherwise; absolute times differ from machine to machine.\n",
    ]
    for name in SCRIPTS:
        if name in figures:
            found = figures[name]
            parts.append(f"## {name}\n\n`python bench/{name}.py`, {found['date']}\n")
            parts.append("\n".join([HEAD, *(row(one) for one in found["rows"])]) + "\n")
            parts += [f"- {one['name']}: {one['note']}" for one in found["rows"]
                      if one.get("note")]  # fmt: skip
            parts.append("")
    return "\n".join(parts)


def row(one: dict[str, object]) -> str:
    """Return one figure as a row of the table."""
    cells = [one["name"]]
    cells += [number(one.get(key)) for key in ("ours", "limit", "ratio")]
    cells += [one.get("target", ""), one.get("unit", "")]
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def number(value: object) -> str:
    """Return ``value`` to three or so significant digits."""
    if not isinstance(value, int | float):
        return "" if value is None else str(value)
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"


def machine() -> str:
    """Return this machine in a few words."""
    model = platform.processor() or platform.machine()
    info = pathlib.Path("/proc/cpuinfo")
    if info.exists():
        names = [x for x in info.read_text().splitlines() if x.startswith("model name")]
        model = names[0].partition(":")[2].strip() if names else model
    return f"{os.cpu_count()} cores ({model}), Python {platform.python_version()}"


if __name__ == "__main__":
    main()
