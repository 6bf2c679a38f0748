"""The two Iceberg tables of a dataset: what they hold, and how they are read.

How they are written stands in ``branches`` and ``datafiles``.
"""

import contextlib
from collections.abc import Container, Iterator, Sequence
from typing import TYPE_CHECKING, Literal, NamedTuple

import pyarrow as pa
from pyiceberg.exceptions import NoSuchTableError, TableAlreadyExistsError
from pyiceberg.io.pyarrow import ArrowScan, pyarrow_to_schema
from pyiceberg.partitioning import PartitionField, PartitionSpec
from pyiceberg.transforms import IdentityTransform
from sqlalchemy.exc import IntegrityError

from pipelines.errors import ArtifactMismatch
from pipelines.lake import ownership
from pipelines.lake.catalog import open_catalog
from pipelines.lake.layout import Lake

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table
    from pyiceberg.table.snapshots import Snapshot

Name = Literal["images", "features"]
NAMES: tuple[Name, ...] = ("images", "features")
PREFIX = "latentlake."
"""Of our properties of snapshots and tables: run_id, night, space_id, drift, hold."""


def _required(name: str, kind: pa.DataType) -> pa.Field:
    return pa.field(name, kind, nullable=False)


IMAGES_SCHEMA = pa.schema(
    [
        _required("source_uri", pa.string()),
        pa.field("image_id", pa.string()),
        _required("status", pa.string()),
        pa.field("reason", pa.string()),
        pa.field("detail", pa.string()),
        pa.field("label", pa.string()),
        pa.field("split", pa.string()),  # none where the bytes could not be read
        _required("night", pa.date32()),
        pa.field("width", pa.int32()),  # of the original; none where rejected
        pa.field("height", pa.int32()),
        pa.field("format", pa.string()),
        pa.field("bytes", pa.int64()),
        pa.field("modified", pa.timestamp("us", tz="UTC")),
        pa.field("etag", pa.string()),
        pa.field("shard", pa.string()),
        pa.field("row", pa.int32()),
        pa.field("gone_night", pa.date32()),
        _required("run_id", pa.string()),
    ]
)
"""The image table: one row for each entry of the source, whatever became of it."""

FEATURES_SCHEMA = pa.schema(
    [
        _required("image_id", pa.string()),
        _required("source_uri", pa.string()),
        pa.field("label", pa.string()),
        _required("split", pa.string()),
        _required("night", pa.date32()),
        _required("width", pa.int32()),
        _required("height", pa.int32()),
        _required("latent", pa.list_(_required("element", pa.float32()))),
        _required("reconstruction_error", pa.float32()),
        _required("space_id", pa.string()),
        _required("run_id", pa.string()),
    ]
)
"""The feature table: one row for each accepted image, all of one space."""

SCHEMAS: dict[Name, pa.Schema] = {"images": IMAGES_SCHEMA, "features": FEATURES_SCHEMA}


PROPERTIES = {
    "write.parquet.compression-codec": "zstd",
    "write.metadata.metrics.column.latent.element": "none",
}


class Bases(NamedTuple):
    """The snapshots that ``main`` of both tables names; none for a missing table."""

    images: int | None
    features: int | None


def numbered(schema: pa.Schema) -> pa.Schema:
    """Return ``schema`` with Iceberg's field numbers, as data files carry them.

    Numbers are given in the order of the columns, then to the elements of lists: the
    order in which Iceberg itself numbers a new table.
    """
    fields = []
    following = len(schema) + 1
    for number, field in enumerate(schema, start=1):
        kind = field.type
        if pa.types.is_list(kind):
            kind = pa.list_(_with_number(kind.value_field, following))
            following += 1
        fields.append(_with_number(field.with_type(kind), number))
    return pa.schema(fields)


def ensure(lake: Lake) -> None:
    """Create the tables of the dataset where they are missing.

    Each is born with an empty snapshot: a table never written refuses a branch.
    """
    for name in NAMES:
        table = find(lake, name) or _make(lake, name)
        _check_columns(table, name)
        if table.current_snapshot() is None:
            table.append(numbered(SCHEMAS[name]).empty_table())


def _make(lake: Lake, name: Name) -> "Table":
    """Return the new table; where another run was faster, the one that it made."""
    catalog = open_catalog(lake)
    # A SQL catalog has no word of its own for a namespace made in the same moment.
    with contextlib.suppress(IntegrityError):
        catalog.create_namespace_if_not_exists(lake.dataset)
    with contextlib.suppress(TableAlreadyExistsError):
        catalog.create_table(
            (lake.dataset, name),
            schema=pyarrow_to_schema(numbered(SCHEMAS[name])),
            location=lake.table(name),
            partition_spec=_partitions(name),
            properties=PROPERTIES,
        )
    return load(lake, name)


def _check_columns(table: "Table", name: Name) -> None:
    """Raise :class:`ArtifactMismatch` where the table has other columns than ours."""
    wanted = {
        field.name: str(field.field_type)
        for field in pyarrow_to_schema(numbered(SCHEMAS[name])).fields
    }
    found = {one.name: str(one.field_type) for one in table.schema().fields}
    apart = sorted(key for key in wanted | found if wanted.get(key) != found.get(key))
    if apart:
        listed = "; ".join(
            f"{key}: found {found.get(key, 'none')}, wanted {wanted.get(key, 'none')}"
            for key in apart
        )
        raise ArtifactMismatch(
            f"table {'.'.join(table.name())}: was made by another version of "
            f"latentlake ({listed}). Begin with a new lake (--lake), or use the "
            "version that made it."
        )


def load(lake: Lake, name: Name) -> "Table":
    """Return the table as it is now; it exists once :func:`ensure` was called.

    Raises:
        ConfigError: It is the table of another lake.
    """
    try:
        table = open_catalog(lake).load_table((lake.dataset, name))
    except FileNotFoundError as error:
        raise ownership.unseen(lake, name, error) from error
    ownership.check(lake, table)
    return table


def find(lake: Lake, name: Name) -> "Table | None":
    """Return the table as it is now, or ``None`` where there is none yet."""
    try:
        return load(lake, name)
    except NoSuchTableError:
        return None


def main_ids(lake: Lake) -> Bases:
    """Return the snapshots that ``main`` of both tables names."""
    return Bases(main_id(find(lake, "images")), main_id(find(lake, "features")))


def main_id(table: "Table | None") -> int | None:
    """Return the snapshot that ``main`` of ``table`` names."""
    snapshot = table.current_snapshot() if table else None
    return snapshot.snapshot_id if snapshot else None


def read_images(lake: Lake, snapshot: int | None) -> pa.Table:
    """Return the image table at ``snapshot``; no rows where that is ``None``."""
    return _read(lake, "images", snapshot, IMAGES_SCHEMA.names)


def read_features(
    lake: Lake, snapshot: int | None, columns: Sequence[str] | None = None
) -> pa.Table:
    """Return ``columns`` (all, by default) of the feature table at ``snapshot``."""
    return _read(lake, "features", snapshot, columns or FEATURES_SCHEMA.names)


def snapshot_properties(
    lake: Lake, name: Name, snapshot: int | None = None
) -> dict[str, str]:
    """Return the properties of one snapshot of a table (of ``main``, by default).

    A table or snapshot that does not exist has none. Ours begin with ``latentlake.``.
    """
    table = find(lake, name)
    if table is None:
        return {}
    found = table.snapshot_by_id(snapshot) if snapshot else table.current_snapshot()
    return properties_of(found)


def properties_of(snapshot: "Snapshot | None") -> dict[str, str]:
    """Return the properties of ``snapshot``, Iceberg's own counts among them."""
    if snapshot is None or snapshot.summary is None:
        return {}
    return dict(snapshot.summary.additional_properties)


def parts(
    table: "Table",
    snapshot: int,
    columns: Sequence[str],
    only: Container[str] | None = None,
) -> Iterator[tuple["DataFile", pa.Table]]:
    """Yield each data file of a snapshot (``only`` these) with its rows, in turn."""
    scan = table.scan(snapshot_id=snapshot, selected_fields=tuple(columns))
    reader = ArrowScan(table.metadata, table.io, scan.projection(), scan.row_filter)
    for task in sorted(scan.plan_files(), key=lambda task: task.file.file_path):
        if only is not None and task.file.file_path not in only:
            continue
        yield task.file, plain(reader.to_table([task]), table.name()[-1], columns)


def plain(rows: pa.Table, name: str, columns: Sequence[str]) -> pa.Table:
    """Return ``rows`` in the types and the order that our schemas state."""
    schema = IMAGES_SCHEMA if name == "images" else FEATURES_SCHEMA
    wanted = pa.schema([schema.field(column) for column in columns])
    return rows.select(list(columns)).cast(wanted)


def _read(
    lake: Lake, name: Name, snapshot: int | None, columns: Sequence[str]
) -> pa.Table:
    table = find(lake, name) if snapshot is not None else None
    if table is None:
        return plain(SCHEMAS[name].empty_table(), name, columns)
    scan = table.scan(snapshot_id=snapshot, selected_fields=tuple(columns))
    return plain(scan.to_arrow(), name, columns)


def _partitions(name: Name) -> PartitionSpec:
    if name == "images":
        return PartitionSpec()
    return PartitionSpec(
        PartitionField(
            source_id=FEATURES_SCHEMA.get_field_index("space_id") + 1,
            field_id=1000,
            transform=IdentityTransform(),
            name="space_id",
        )
    )


def _with_number(field: pa.Field, number: int) -> pa.Field:
    return field.with_metadata({"PARQUET:field_id": str(number)})
