"""The short table that a demo ends with, and one query on what was published."""

import json
import pathlib
import time
from typing import Any, NamedTuple

from narrator import Narrator
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

LOG = pathlib.Path(".demo") / "night.log"
QUERY = """
SELECT {by}, count(*) AS images, round(avg(reconstruction_error), 4) AS mean_error
FROM features GROUP BY {by} ORDER BY mean_error DESC LIMIT 10
""".strip()
UNITS = {"linear": "%", "knn": "%", "psnr": "dB"}
TITLES = {"linear": "linear probe", "knn": "k-NN", "psnr": "PSNR", "ssim": "SSIM"}


class Night(NamedTuple):
    """The night that is over.

    Attributes:
        lake: Root of the lake.
        dataset: The dataset.
        narrator: Who heard it.
        began: When it did, by the monotonic clock.
    """

    lake: pathlib.Path
    dataset: str
    narrator: Narrator
    began: float

    @property
    def folder(self) -> pathlib.Path:
        """Where the run left its manifests."""
        return self.lake / self.dataset / "runs" / (self.narrator.run_id or "none")

    def manifest(self, stage: str) -> dict[str, Any]:
        """Return what ``stage`` left; nothing where it left nothing."""
        file = self.folder / f"{stage}.json"
        return json.loads(file.read_text()) if file.exists() else {}


def show(console: Console, night: Night) -> bool:
    """Show how the night ended; return whether it ended well."""
    console.print()
    good = night.narrator.code == 0 and not night.narrator.failed
    if good:
        _show_table(console, night)
        _show_query(console, night)
    else:
        _show_failure(console, night)
    report = night.folder / "report.html"
    if report.exists():
        console.print(f"Report:  {report}", soft_wrap=True)
    console.print(f"Log:     {LOG}")
    console.print(f"Took:    {time.monotonic() - night.began:.0f} s")
    return good


def _show_failure(console: Console, night: Night) -> None:
    failed = night.narrator.failed
    if not failed:
        console.print(
            "[bold red]Airflow itself failed;[/] the end of its log says why."
        )
        return
    said = night.manifest(failed[0]).get("error") or "the log says why"
    console.print(f"[bold red]{failed[0]} failed:[/] {escape(said)}", soft_wrap=True)


def _show_table(console: Console, night: Night) -> None:
    table = Table(show_header=False, box=box.SIMPLE)
    table.add_column()
    table.add_column(justify="right")
    table.add_row("[bold]dataset[/]", f"[bold]{night.dataset}[/]")
    table.add_row("run", night.narrator.run_id)
    for name, value in (*_images(night), *_gate(night), *_published(night)):
        table.add_row(name, value)
    console.print(table)
    if night.manifest("publish").get("status") == "skipped":
        console.print(
            "[bold]Nothing new:[/] nothing was decoded, encoded or published. "
            "The table stays as the last night left it.",
            soft_wrap=True,
        )


def _images(night: Night) -> list[tuple[str, str]]:
    ingest = night.manifest("ingest")
    counts = ingest.get("counts", {})
    rows = [
        (f"images {name}", f"{counts[key]:,}")
        for name, key in (
            ("listed", "listed"),
            ("known already", "known"),
            ("accepted", "accepted"),
            ("duplicate", "duplicate"),
            ("rejected", "rejected"),
            ("gone", "gone"),
        )
        if counts.get(key) or key == "listed"
    ]
    for reason, number in ingest.get("figures", {}).get("rejections", {}).items():
        rows.append((f"  [dim]{reason}[/]", f"[dim]{number:,}[/]"))
    return rows


def _gate(night: Night) -> list[tuple[str, str]]:
    found = night.manifest("evaluate")
    figures = found.get("figures", {})
    if found.get("status") != "done" or "candidate" not in figures:
        return []
    rows = [("gate", f"[bold]{figures['verdict']}[/]")]
    for name in ("linear", "knn", "psnr", "ssim"):
        mine, theirs = figures["candidate"].get(name), figures["pca"].get(name)
        if mine is None or theirs is None:
            continue
        unit = UNITS.get(name, "")
        digits = 1 if unit else 3
        said = f"{mine:.{digits}f} against PCA's {theirs:.{digits}f} {unit}".rstrip()
        bounds = figures["intervals"]["pca"].get(name)
        if bounds:
            said += f" (gain {bounds[0]:+.{digits}f} to {bounds[1]:+.{digits}f})"
        rows.append((f"  {TITLES[name]}", said))
    return rows


def _published(night: Night) -> list[tuple[str, str]]:
    from pipelines.lake import tables
    from pipelines.lake.layout import Lake

    table = tables.load(Lake(str(night.lake), night.dataset), "features")
    snapshot = table.current_snapshot()
    return [
        ("rows in the feature table", f"{table.scan().count():,}"),
        ("snapshot", str(snapshot.snapshot_id if snapshot else "none")),
    ]


def _show_query(console: Console, night: Night) -> None:
    import duckdb

    from pipelines.lake import tables
    from pipelines.lake.layout import Lake

    table = tables.load(Lake(str(night.lake), night.dataset), "features")
    features = table.scan(
        selected_fields=("label", "split", "reconstruction_error")
    ).to_arrow()
    by = "label" if features["label"].null_count < len(features) else "split"
    query = QUERY.format(by=by)
    answer = duckdb.connect().register("features", features).sql(query)
    console.print("\n[bold]DuckDB on the published table[/]")
    console.print(escape(query), style="dim", soft_wrap=True)
    shown = Table(*answer.columns, box=box.SIMPLE)
    for row in answer.fetchall():
        shown.add_row(*map(str, row))
    console.print(shown)
