"""``bench/quality.md``: all that was measured, from the JSONs alone."""

import json
import pathlib
import statistics
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from quality import card, datasets, extensions, kept, words
from quality.datasets import DATASETS, Dataset
from quality.published import PUBLISHED
from quality.rows import ROWS, Row, Unknown

PICTURE = "quality.png"
GPU = "gpu.jsonl"
STALE = "†"
NOTE = f"{STALE} Settings or code have changed since it was measured.\n"


class Measured(NamedTuple):
    """What is kept of one row on one dataset.

    Attributes:
        row: The row.
        seeds: What each seed found, by its number.
        stale: Whether settings or code have changed since.
    """

    row: Row
    seeds: dict[int, dict[str, Any]]
    stale: bool

    def values(self, *keys: str) -> list[float]:
        """Return a figure of each seed that has it."""
        found = []
        for one in self.seeds.values():
            value: Any = one["figures"]
            for key in keys:
                value = value.get(key) if isinstance(value, dict) else None
            if isinstance(value, int | float):
                found.append(float(value))
        return found


def write(folder: pathlib.Path, place: pathlib.Path) -> pathlib.Path:
    """Write the page and its picture to ``place`` from what ``folder`` keeps."""
    found = {
        dataset: [one for row in ROWS if (one := gather(folder, dataset, row)).seeds]
        for dataset in DATASETS.values()
    }
    found = {dataset: rows for dataset, rows in found.items() if rows}
    parts = [words.HEAD, *(section(dataset, rows) for dataset, rows in found.items())]
    shown = {
        dataset: card.curves(
            {row.row.name: first(row)["curve"] for row in rows if on_card(row)}
        )
        for dataset, rows in found.items()
    }
    shown = {dataset: curves for dataset, curves in shown.items() if curves}
    if shown:
        titles = {dataset.title: curves for dataset, curves in shown.items()}
        card.draw(titles, place / PICTURE)
        parts.append(rate_section(shown, found))
    parts += [
        extensions.section(folder),
        on_gpu(folder / GPU),
        published(),
        words.PROTOCOL,
        missing(found),
        settings(found),
    ]
    page = place / "quality.md"
    page.write_text("\n".join(parts), encoding="utf-8")
    return page


def gather(folder: pathlib.Path, dataset: Dataset, row: Row) -> Measured:
    """Return what ``folder`` keeps of ``row``."""
    seeds, stale = {}, False
    for seed in row.seeds:
        found = kept.read(kept.path(folder, dataset.name, row.name, seed))
        if found is not None:
            seeds[seed] = found
            try:
                stale |= found["of"] != kept.identity(row, dataset, seed)
            except Unknown:
                stale = True
    return Measured(row, seeds, stale)


def first(row: Measured) -> dict[str, Any]:
    """Return the figures of the row's first seed."""
    return dict(next(iter(row.seeds.values()))["figures"])


def on_card(row: Measured) -> bool:
    """Return whether the row is drawn: one that is judged on every dataset."""
    return not row.row.datasets and "curve" in first(row)


def section(dataset: Dataset, rows: Sequence[Measured]) -> str:
    """Return the tables of one dataset."""
    shape = " × ".join(map(str, dataset.shape))
    judged = [one for one in rows if one.values("linear")]
    health = [one for one in judged if "health" in first(one)]
    lines = [
        f"## {dataset.title}\n",
        f"{shape}. In percent, test images.\n",
        _row(list(COLUMNS)),
        "|---" + "|---:" * (len(COLUMNS) - 1) + "|",
        *(_row([cell(one) for cell in COLUMNS.values()]) for one in judged),
        "",
        *([NOTE] if any(one.stale for one in rows) else []),
        "| health | effective rank | dead | norms |\n|---|---:|---:|---:|",
        *(_row(_health(one)) for one in health),
        "",
    ]
    return "\n".join(lines)


def rate_section(
    shown: dict[Dataset, list[card.Curve]],
    found: dict[Dataset, list[Measured]],
) -> str:
    """Return the rate–distortion card."""
    from quality import jpeg, rate

    about = words.ABOUT_CARD.format(judged=rate.JUDGED, qualities=len(jpeg.QUALITIES))
    lines = [about, f"![Pictures per byte]({PICTURE})\n"]
    for dataset, curves in shown.items():
        lines += [f"**{dataset.title}**\n", *card.table(curves), ""]
        for row in found[dataset]:
            if row.row.kind == "jpeg":
                lines.append(_about_jpeg(first(row)))
    return "\n".join(lines)


def on_gpu(file: pathlib.Path) -> str:
    """Return the figures that ``bench/gpu_quality.py`` printed into ``file``."""
    if not file.exists():
        return words.NO_GPU
    lines = [words.ABOUT_GPU, "| figure | | unit | target | |\n|---|---:|---|---|---|"]
    for line in file.read_text(encoding="utf-8").splitlines():
        if line.startswith("{") and "ours" in (one := json.loads(line)):
            keys = ("name", "ours", "unit", "target", "note")
            lines.append(_row([str(one.get(key, "")) for key in keys]))
    return "\n".join([*lines, ""])


def published() -> str:
    """Return what others published."""
    lines = [
        "## Published\n",
        words.ABOUT_PUBLISHED,
        "| images | method | linear | k-NN | size | source |",
        "|---|---|---:|---:|---:|---|",
    ]
    for one in PUBLISHED:
        source = one.source if one.seen else f"{one.source} (from memory)"
        title = datasets.DATASETS[one.dataset].title
        lines.append(_row([title, one.method, one.linear, one.knn, one.size, source]))
    return "\n".join([*lines, ""])


def missing(found: dict[Dataset, list[Measured]]) -> str:
    """Return what is not yet measured, and which seeds rows are short of."""
    lines = []
    for dataset in DATASETS.values():
        has = {one.row.name: one.seeds for one in found.get(dataset, [])}
        parts = []
        for row in ROWS:
            lacks = [str(one) for one in row.seeds if one not in has.get(row.name, {})]
            if not lacks or (row.datasets and dataset.name not in row.datasets):
                continue
            said = f" (seeds {', '.join(lacks)})" if row.name in has else ""
            parts.append(f"`{row.name}`{said}")
        if parts:
            lines.append(f"- {dataset.title}: {', '.join(parts)}")
    return "\n".join(["## Not yet measured\n", *lines, ""]) if lines else ""


def settings(found: dict[Dataset, list[Measured]]) -> str:
    """Return what each row is, on which processor and with what it was measured."""
    lines = ["## Rows\n", "| row | command | settings beside the defaults |",
             "|---|---|---|"]  # fmt: skip
    for row in ROWS:
        given = {**row.options, **{f"train.{k}": v for k, v in row.train.items()}}
        said = ", ".join(f"{key} = {value}" for key, value in given.items()) or row.kind
        command = f'`make scoreboard ROWS="{row.name}"`'
        lines.append(_row([row.name, command, said]))
    every = [
        seed for rows in found.values() for row in rows for seed in row.seeds.values()
    ]
    if every:
        lines.append(_measured(every))
    return "\n".join(lines)


def _measured(every: Sequence[dict[str, Any]]) -> str:
    machines = sorted({one["processor"] for one in every})
    dates = sorted({one["date"] for one in every})
    versions = sorted({_versions(one["versions"]) for one in every})
    days = dates[0] if len(dates) == 1 else f"{dates[0]} to {dates[-1]}"
    return (
        f"\nMeasured on one core of {', '.join(machines)}, {days}, "
        f"with {'; '.join(versions)}.\n"
    )


def _versions(versions: dict[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cells) + " |"


def _spread(*keys: str, scale: float = 1.0, form: str = ".1f") -> Callable:
    """Return what shows a figure's mean and, over several seeds, its spread."""

    def cell(one: Measured) -> str:
        values = [scale * value for value in one.values(*keys)]
        if not values:
            return ""
        mean = f"{statistics.mean(values):{form}}"
        if len(values) < 2:
            return mean
        return f"{mean} ± {statistics.stdev(values):{form.replace(',', '')}}"

    return cell


def _mean(*keys: str, scale: float = 1.0, form: str = ",.0f") -> Callable:
    """Return what shows a figure's mean."""

    def cell(one: Measured) -> str:
        values = one.values(*keys)
        return f"{scale * statistics.mean(values):z{form}}" if values else ""

    return cell


def _name(one: Measured) -> str:
    return f"`{one.row.name}`{STALE * one.stale}"


def _packed(one: Measured) -> str:
    if not one.values("int8", "bytes"):
        return ""
    pairs = zip(one.values("linear"), one.values("int8", "linear"), strict=True)
    lost = statistics.mean(100 * (exact - rounded) for exact, rounded in pairs)
    faded = _mean("int8", "psnr_loss", form=".1f")(one)
    return f"{_mean('int8', 'bytes')(one)} ({lost:z.1f}, {faded} dB)".replace("-", "−")


def _health(one: Measured) -> list[str]:
    low, high = first(one)["health"]["norm_range"]
    return [
        _name(one),
        _mean("health", "effective_rank", form=".1f")(one),
        _mean("health", "dead_dims")(one),
        f"{low:.1f}–{high:.1f}",
    ]


def _about_jpeg(figures: dict[str, Any]) -> str:
    rest = [point[1] - point[2] for point in figures["curve"] if point[0] <= 50]
    return (
        f"Of a JPEG up to quality 50, {min(rest):.0f}–{max(rest):.0f} bytes are "
        "headers and tables; without any loss, a PNG takes "
        f"{figures['png_bytes']:,.0f} bytes.\n"
    )


COLUMNS: dict[str, Callable[[Measured], str]] = {
    "row": _name,
    "size": _mean("latent_dim"),
    "linear": _spread("linear", scale=100),
    "k-NN": _spread("knn", scale=100),
    "PSNR dB": _spread("psnr"),
    "SSIM": _mean("ssim", form=".3f"),
    "bytes, float32": _mean("bytes_float32"),
    "int8 + zstd (lost)": _packed,
    "CPU-minutes": _mean("train_cpu_minutes", form=".1f"),
    "images/s/core": _mean("encode_per_second"),
    "of peak": _mean("share_of_peak", scale=100, form=".0f"),
    "seeds": lambda one: str(len(one.seeds)),
}
