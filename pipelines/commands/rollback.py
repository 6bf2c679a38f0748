"""Rollback: move both tables of a dataset back, and hold them there."""

from typing import TYPE_CHECKING

from rich.console import Console

from pipelines.commands import standing
from pipelines.config import check_name
from pipelines.errors import ConfigError
from pipelines.lake import branches, lease, pointer, tables
from pipelines.lake.layout import Lake, absolute

if TYPE_CHECKING:
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot


def run(lake_root: str, dataset: str, *, to_snapshot: int | None = None) -> int:
    """Move both tables back to what was published before, and hold them there.

    Args:
        lake_root: Root of the lake.
        dataset: The dataset's name.
        to_snapshot: Snapshot of the feature table; by default the one before.
    """
    lake = Lake(absolute(lake_root), check_name(dataset))
    standing.both(lake)  # before the lease, which would make a folder
    with lease.hold(lake, "latentlake rollback"):
        images, features = standing.both(lake)
        target = _target(lake, images, features, to_snapshot)
        partner = images_of(images, target)
        _step_back(lake, target)
        hold = {"reason": f"to feature snapshot {target.snapshot_id}"}
        branches.put_back(lake, "features", target.snapshot_id, hold)
        branches.put_back(lake, "images", partner, hold)
    _say(lake, target)
    return 0


def images_of(images: "Table", features_snapshot: "Snapshot") -> int:
    """Return the image snapshot that a feature snapshot was made from.

    The one that the feature table was born with goes with that of the image table.
    """
    properties = tables.properties_of(features_snapshot)
    value = properties.get(f"{tables.PREFIX}images_snapshot")
    return int(value) if value else list(branches.lineage(images))[-1].snapshot_id


def _target(
    lake: Lake, images: "Table", features: "Table", wanted: int | None
) -> "Snapshot":
    history = list(branches.lineage(features))
    if wanted is None:
        if _unfinished(images, features, history[0]):
            return history[0]
        if len(history) > 1:
            return history[1]
        raise ConfigError(
            f"{lake.dataset}: nothing was published before what stands now, so there "
            "is nothing to go back to."
        )
    published = {entry.snapshot_id for entry in features.history()}
    found = features.snapshot_by_id(wanted)
    if found is None or wanted not in published:
        raise ConfigError(
            f"--to-snapshot {wanted}: was never published as {lake.dataset}.features. "
            f"These were: {', '.join(map(str, sorted(published)))}."
        )
    return found


def _unfinished(images: "Table", features: "Table", current: "Snapshot") -> bool:
    """Return whether an earlier rollback was cut off between the two tables."""
    standing = tables.main_id(images)
    return bool(branches.held(features)) and standing != images_of(images, current)


def _step_back(lake: Lake, target: "Snapshot") -> None:
    """Point to the encoder of the target's space.

    Before the tables move: cut off here, the next publish makes that space anew.
    """
    space_id = tables.properties_of(target).get(f"{tables.PREFIX}space_id")
    accepted = pointer.read(lake)
    if space_id and accepted and accepted.space_id != space_id:
        pointer.step_back(lake, space_id)


def _say(lake: Lake, target: "Snapshot") -> None:
    found = tables.properties_of(target)
    night = found.get(f"{tables.PREFIX}night", "before the first night")
    console = Console(soft_wrap=True)
    console.print(
        f"{lake.dataset}: back at snapshot {target.snapshot_id} ({night}), "
        f"{found.get('total-records', '0')} rows.",
        highlight=False,
    )
    console.print(
        "Nothing is published until you say: "
        f"latentlake release {lake.dataset} --lake {lake.root}",
        highlight=False,
    )
