"""Change a table on an audit branch, then move ``main`` to it: or not at all.

Every publish is one snapshot of each table. A reader of ``main`` sees the table before
it or after it, whole.
"""

import json
import time
import uuid
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

from pyiceberg.exceptions import CommitFailedException
from pyiceberg.io.pyarrow import parquet_file_to_data_file
from pyiceberg.table.snapshots import ancestors_of
from pyiceberg.table.update.snapshot import ManageSnapshots

from pipelines.errors import PublishHeld
from pipelines.lake import tables
from pipelines.lake.layout import Lake
from pipelines.lake.tables import Name

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot

HOLD = "latentlake.hold"
AUDIT = "audit_"
ABANDONED_S = 24 * 3600.0
"""Where two may publish at once, a branch is nobody's only after so long."""
TRIES = 5


class Change(NamedTuple):
    """One change of a table.

    Attributes:
        add: Paths of new data files.
        drop: Data files of the base that are no longer part of it.
        properties: What its snapshot says of itself (``latentlake.…``).
    """

    add: Sequence[str]
    drop: Sequence["DataFile"]
    properties: dict[str, str]


class Draft(NamedTuple):
    """A change committed to a branch, not yet published.

    Attributes:
        name: The table.
        branch: Its audit branch.
        base: The snapshot of ``main`` that it was made from.
        snapshot: The snapshot at the head of the branch.
        added: Paths of the data files that it added.
    """

    name: Name
    branch: str
    base: int
    snapshot: int
    added: Sequence[str]


def audit_branch(run_id: str) -> str:
    """Return the name of a new audit branch: of this execution of the run alone."""
    return f"{AUDIT}{run_id}_{uuid.uuid4().hex[:8]}"


def sweep(lake: Lake, *, alone: bool) -> None:
    """Drop the audit branches of publishes that were killed.

    Where nobody else publishes (``alone``) these are all that there are.
    """
    for name in tables.NAMES:
        metadata = tables.load(lake, name).metadata
        for branch, ref in metadata.refs.items():
            head = metadata.snapshot_by_id(ref.snapshot_id)
            age = time.time() - head.timestamp_ms / 1000 if head else ABANDONED_S
            if branch.startswith(AUDIT) and (alone or age >= ABANDONED_S):
                drop_branch(lake, name, branch)


def build(lake: Lake, name: Name, branch: str, base: int, change: Change) -> Draft:
    """Commit ``change`` to the new ``branch`` of ``base``, as one snapshot."""
    table = tables.load(lake, name)
    table.manage_snapshots().create_branch(base, branch).commit()
    # A handle that has not seen the new branch cannot commit to it.
    table = tables.load(lake, name)
    with table.transaction() as transaction:
        update = transaction.update_snapshot(change.properties, branch=branch)
        with update.overwrite() if change.drop else update.fast_append() as commit:
            for file in change.drop:
                commit.delete_data_file(file)
            for path in change.add:
                commit.append_data_file(
                    parquet_file_to_data_file(table.io, table.metadata, path)
                )
    head = tables.load(lake, name).metadata.refs[branch].snapshot_id
    return Draft(name, branch, base, head, change.add)


def move(lake: Lake, draft: Draft) -> bool:
    """Move ``main`` to the draft if it is still the draft's base; return whether.

    One metadata commit, which also removes the branch. The catalog refuses it where
    another moved ``main`` in the same moment.
    """
    for _ in range(TRIES):
        table = tables.load(lake, draft.name)
        found = tables.main_id(table)
        if found == draft.snapshot:
            return True  # an earlier try landed, though its answer was lost
        if found != draft.base:
            return False
        try:
            # In this order: of two asserted refs PyIceberg keeps the first, main.
            manage = table.manage_snapshots().set_current_snapshot(draft.snapshot)
            manage.remove_branch(draft.branch).commit()
        except CommitFailedException:
            continue  # something else of the table changed: look again
        return True
    return False


def drop_branch(lake: Lake, name: Name, branch: str) -> None:
    """Remove ``branch``; one that is missing is no error."""
    for again in range(TRIES, 0, -1):
        table = tables.load(lake, name)
        if branch not in table.metadata.refs:
            return
        try:
            table.manage_snapshots().remove_branch(branch).commit()
        except CommitFailedException:
            if again == 1:
                raise


def put_back(lake: Lake, name: Name, snapshot: int, hold: dict[str, str]) -> None:
    """Move ``main`` to ``snapshot`` and hold it there, in one metadata commit."""
    with tables.load(lake, name).transaction() as transaction:
        transaction.set_properties({HOLD: json.dumps(hold, sort_keys=True)})
        ManageSnapshots(transaction).set_current_snapshot(snapshot).commit()


def held(table: "Table | None") -> dict[str, str] | None:
    """Return why ``main`` of ``table`` is held, or ``None``."""
    value = table.properties.get(HOLD) if table else None
    return json.loads(value) if value else None


def release(lake: Lake, name: Name) -> None:
    """Let ``main`` move again."""
    table = tables.load(lake, name)
    if HOLD in table.properties:
        with table.transaction() as transaction:
            transaction.remove_properties(HOLD)


def refuse_held(lake: Lake) -> None:
    """Raise :class:`PublishHeld` where a rollback holds one of the tables."""
    for name in tables.NAMES:
        reason = held(tables.find(lake, name))
        if reason is not None:
            raise PublishHeld(
                f"{lake.dataset}: the tables were rolled back ({reason['reason']}) and "
                "are held there; nothing was published. When the cause is mended: "
                f"latentlake release {lake.dataset} --lake {lake.root}"
            )


def lineage(table: "Table") -> Iterator["Snapshot"]:
    """Yield the snapshots that ``main`` came from, the current one first."""
    yield from ancestors_of(table.current_snapshot(), table.metadata)
