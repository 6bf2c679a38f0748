"""Status: last night, snapshot, space, age, and what is due."""

import datetime
import textwrap
from typing import Any, NamedTuple

from rich.console import Console
from rich.table import Table as Grid

from pipelines.config import check_name
from pipelines.errors import ConfigError
from pipelines.lake import branches, manifest, pointer, store, tables
from pipelines.lake import run as runs
from pipelines.lake.layout import Lake, absolute

STAGES = ("ingest", "transform", "train", "evaluate", "encode", "publish")
NONE = "–"
LONGEST = 300
"""Characters of an error that are shown."""


class Status(NamedTuple):
    """What stands of one dataset, each ready to be shown."""

    dataset: str
    night: str
    state: str
    rows: str
    snapshot: str
    space: str
    age: str
    held: str
    due: str


def run(lake_root: str, dataset: str | None = None) -> int:
    """Print what stands of a dataset, or of every one in the lake.

    Args:
        lake_root: Root of the lake.
        dataset: The dataset's name; by default every one.
    """
    root = absolute(lake_root)
    chosen = [check_name(dataset)] if dataset else datasets(root)
    if not chosen:
        raise ConfigError(
            f"{root}: no dataset has a run in this lake. Look at --lake, or start "
            "with: latentlake night DATASET"
        )
    console = Console()
    for name in chosen:
        found = status_of(Lake(root, name))
        grid = Grid(show_header=False, title=name, title_justify="left", box=None)
        for field, value in zip(Status._fields[1:], found[1:], strict=True):
            grid.add_row(field, value)
        console.print(grid)
    return 0


def datasets(root: str) -> list[str]:
    """Return the datasets that have a run in the lake at ``root``."""
    return [name for name in store.names(root) if store.names(Lake(root, name).runs)]


def status_of(lake: Lake) -> Status:
    """Return what stands of one dataset."""
    last = runs.last_id(lake)
    pinned = runs.pinned(lake, last)
    features = tables.find(lake, "features")
    snapshot = features.current_snapshot() if features else None
    found = tables.properties_of(snapshot)
    hold = branches.held(features) or branches.held(tables.find(lake, "images"))
    accepted = pointer.read(lake)
    return Status(
        dataset=lake.dataset,
        night=f"{pinned.night if pinned else NONE} (run {last})",
        state=state_of(lake, last),
        rows=found.get("total-records", NONE),
        snapshot=str(snapshot.snapshot_id) if snapshot else NONE,
        space=_space(found.get(f"{tables.PREFIX}space_id"), accepted),
        age=_age(snapshot.timestamp_ms) if snapshot else NONE,
        held=hold["reason"] if hold else "no",
        due=due(lake, pinned, accepted, found),
    )


def state_of(lake: Lake, run_id: str) -> str:
    """Return in a few words how far a run came."""
    done, found = "nothing", None
    for stage in STAGES:
        found = manifest.read(lake, run_id, stage)
        if found is None:
            return f"stopped after {done}"
        if found["status"] == manifest.FAILED:
            return f"failed in {stage} (exit code {found['exit_code']}){_why(found)}"
        done = stage
    skipped = found is not None and found["status"] == manifest.SKIPPED
    return "nothing new" if skipped else "published"


def _why(failed: dict[str, Any]) -> str:
    """Return the first line of what a failed stage said."""
    first, *_ = [*str(failed.get("error", "")).splitlines(), ""]
    return f": {textwrap.shorten(first, LONGEST, placeholder=' …')}" if first else ""


def due(
    lake: Lake,
    last: runs.Run | None,
    accepted: pointer.Accepted | None,
    published: dict[str, str],
) -> str:
    """Return what tonight will do beside looking for new images, by what is known."""
    if last is None:
        return "the source is listed"
    from pipelines.stages import retrain

    attempts = pointer.attempts(lake)
    drift = published.get(f"{tables.PREFIX}drift")
    reason = retrain.due(
        retrain.Facts(
            night=datetime.datetime.now(datetime.UTC).date().isoformat(),
            retrain="auto",
            settings=last.settings,
            image_spec_id=last.image_spec_id,
            accepted=_card(lake, accepted.space_id) if accepted else None,
            tried=_card(lake, attempts[-1]["space_id"]) if attempts else None,
            last_attempt=attempts[-1]["night"] if attempts else None,
            drift=float(drift) if drift else None,
            drift_night=published.get(f"{tables.PREFIX}night"),
        )
    )
    return f"training: {reason}" if reason else "new and changed images only"


def _card(lake: Lake, space_id: str) -> dict[str, object] | None:
    path = lake.encoder(space_id, "card.json")
    return dict(store.read_json(path)) if store.exists(path) else None


def _space(published: str | None, accepted: pointer.Accepted | None) -> str:
    if accepted is None:
        return "no encoder was accepted yet"
    if published in (None, accepted.space_id):
        return accepted.space_id
    return f"{published}; accepted since: {accepted.space_id}"


def _age(timestamp_ms: int) -> str:
    now = datetime.datetime.now(datetime.UTC)
    then = datetime.datetime.fromtimestamp(timestamp_ms / 1000, datetime.UTC)
    hours, minutes = divmod(int((now - then).total_seconds()) // 60, 60)
    if hours >= 24:
        return f"{hours // 24} days {hours % 24} h"
    return f"{hours} h {minutes} min"
