"""What a publish puts on its audit branches: the image table, the feature table.

The image table follows from tonight's rows and the base. The feature table follows
from the image table alone: whatever an earlier publish left undone is made good.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from pipelines.errors import PublishHeld
from pipelines.lake import branches, datafiles, inventory, sql, staged, tables
from pipelines.lake.branches import Change
from pipelines.lake.run import Run
from pipelines.lake.tables import FEATURES_SCHEMA, IMAGES_SCHEMA, PREFIX

if TYPE_CHECKING:
    from pyiceberg.manifest import DataFile
    from pyiceberg.table import Table

REWRITE_SHARE = 0.3
"""Where more than this share of rows changes, the whole table is written anew."""
ENOUGH = 30
"""So many new images are the fewest whose mean error says anything of drift."""
TARGET_COLUMNS = ("source_uri", "label", "split", "night", "width", "height")


class Plan(NamedTuple):
    """What a table becomes.

    Attributes:
        after: Its rows afterwards: whole for images, without latents for features.
        files: Data files of the base whose rows change or go.
        rows: Rows to write: for images whole; for features what of ``after`` comes
            from staged latents.
        counts: How many rows are added, updated, removed.
    """

    after: pa.Table
    files: list["DataFile"]
    rows: pa.Table
    counts: dict[str, int]

    @property
    def empty(self) -> bool:
        """Whether the table stays as it is."""
        return not (self.files or self.rows.num_rows)


def plan_images(run: Run, table: "Table", base: int) -> Plan:
    """Return what tonight makes of the image table at ``base``."""
    found = list(tables.parts(table, base, IMAGES_SCHEMA.names))
    before = _joined([rows for _, rows in found], IMAGES_SCHEMA)
    put = _put(run, table, before, base)
    uris = put["source_uri"]
    replaced = pc.is_in(before["source_uri"], value_set=uris)
    kept = before.filter(pc.invert(replaced))
    counts = {
        "updated": before.num_rows - kept.num_rows,
        "added": put.num_rows - (before.num_rows - kept.num_rows),
        "removed": 0,
    }
    whole = counts["updated"] > REWRITE_SHARE * before.num_rows
    parts, files = [put], []
    for file, rows in found:
        hit = pc.is_in(rows["source_uri"], value_set=uris)
        if whole or pc.any(hit).as_py():
            files.append(file)
            parts.append(rows.filter(pc.invert(hit)))
    rows = _joined(parts, IMAGES_SCHEMA)
    return Plan(pa.concat_tables([kept, put]), files, rows, counts)


def write_images(run: Run, plan: Plan, base: int) -> Change:
    """Write the data files of ``plan`` and return the change."""
    stem = datafiles.stem(run.night, base, plan.rows)
    batches = (plan.rows.slice(at, 65_536) for at in range(0, len(plan.rows), 65_536))
    paths = datafiles.write(run.lake, "images", stem, batches)
    properties = _properties(run) | {f"{PREFIX}image_spec_id": run.image_spec_id}
    return Change(paths, plan.files, properties)


def plan_features(
    run: Run, table: "Table", base: int, corpus: pa.Table, space_id: str
) -> Plan:
    """Return what the accepted images of ``corpus`` make of the feature table."""
    columns = ("image_id", *TARGET_COLUMNS)
    found = list(tables.parts(table, base, columns))
    files = [file for file, _ in found]
    known = [
        rows.append_column("file", pa.array([number] * rows.num_rows, pa.int32()))
        for number, (file, rows) in enumerate(found)
        if file.partition[0] == space_id
    ]
    empty = pa.schema([FEATURES_SCHEMA.field(name) for name in columns])
    with sql.connect() as db:
        db.register("corpus", corpus)
        db.register("base", _joined(known, empty.append(pa.field("file", pa.int32()))))
        db.execute(_JUDGED)
        added = db.execute(_ADDED).to_arrow_table().cast(corpus.schema)
        counts = db.execute(_COUNTS).to_arrow_table().to_pylist()[0]
        hit = {row[0] for row in db.execute(_HIT).fetchall()}
    before = sum(rows.num_rows for _, rows in found)
    counts["removed"] += before - sum(rows.num_rows for rows in known)
    if counts["updated"] + counts["removed"] > REWRITE_SHARE * before:
        hit = set(range(len(files)))
    touched = [
        file
        for number, file in enumerate(files)
        if number in hit or file.partition[0] != space_id
    ]
    return Plan(corpus, touched, added, {k: int(v) for k, v in counts.items()})


def write_features(
    run: Run, plan: Plan, table: "Table", base: int, space_id: str
) -> Change:
    """Write the data files of ``plan``, a file or a shard at a time."""
    space = pa.table({"space_id": [space_id], "run_id": [run.run_id]})
    stem = datafiles.stem(run.night, base, plan.after, plan.rows, space)
    paths = datafiles.write(
        run.lake, "features", stem, _feature_rows(run, plan, table, base, space_id)
    )
    properties = _properties(run) | {f"{PREFIX}space_id": space_id}
    return Change(paths, plan.files, properties)


def mean_error(paths: Sequence[str], table: "Table", run: Run) -> float | None:
    """Return the mean reconstruction error of tonight's own images in ``paths``.

    ``None`` where there are fewer than ``ENOUGH``: one odd image is no drift.
    """
    total, count = 0.0, 0
    for path in paths:
        with table.io.new_input(path).open() as file:
            columns = ["night", "run_id", "reconstruction_error"]
            rows = parquet.read_table(file, columns=columns)
        ours = pc.and_(
            pc.equal(rows["night"], run.date), pc.equal(rows["run_id"], run.run_id)
        )
        errors = rows["reconstruction_error"].filter(ours)
        total += pc.sum(errors, min_count=0).as_py()
        count += len(errors)
    return total / count if count >= ENOUGH else None


def _put(run: Run, table: "Table", before: pa.Table, base: int) -> pa.Table:
    """Return the rows to put on ``base``: as staged, or weighed anew against it."""
    if base == run.images_base:
        rows = inventory.staged(run)
        return IMAGES_SCHEMA.empty_table() if rows is None else rows
    tonight = inventory.read_tonight(run)
    since, forked = _since(table, run)
    if forked:
        raise PublishHeld(
            f"{run.lake.dataset}: the image table was rolled back after run "
            f"{run.run_id} began, so what it found is out of date. Start a new run: "
            f"latentlake night {run.lake.dataset} --lake {run.lake.root}"
        )
    if tonight is None or run.run_id in {one[f"{PREFIX}run_id"] for one in since}:
        return IMAGES_SCHEMA.empty_table()
    later = [o[f"{PREFIX}run_id"] for o in since if o[f"{PREFIX}night"] > run.night]
    newer = before.filter(pc.is_in(before["run_id"], pa.array(later, pa.string())))
    mine = pc.invert(pc.is_in(tonight.rows["source_uri"], newer["source_uri"]))
    gone = set(tonight.gone).difference(newer["source_uri"].to_pylist())
    return inventory.resolve(
        before,
        tonight.rows.filter(mine),
        sorted(gone),
        night=run.date,
        run_id=run.run_id,
        split=run.settings.split,
    ).rows


def _since(table: "Table", run: Run) -> tuple[list[dict[str, str]], bool]:
    """Return what was published since the run began, and whether history forked."""
    since: list[dict[str, str]] = []
    for snapshot in branches.lineage(table):
        if snapshot.snapshot_id == run.images_base:
            return since, False
        properties = tables.properties_of(snapshot)
        if f"{PREFIX}run_id" in properties:
            since.append(properties)
    return since, run.images_base is not None


def _feature_rows(
    run: Run, plan: Plan, table: "Table", base: int, space_id: str
) -> Iterator[pa.Table]:
    kept = {f.file_path for f in plan.files if f.partition[0] == space_id}
    with sql.connect() as db:
        db.register("corpus", plan.after)
        for _, rows in tables.parts(table, base, FEATURES_SCHEMA.names, kept):
            db.register("part", rows)
            updated = db.execute(_UPDATED, [run.run_id]).to_arrow_table()
            yield updated.cast(FEATURES_SCHEMA)
    yield from staged.feature_rows(run, plan.rows, space_id)


def _properties(run: Run) -> dict[str, str]:
    return {f"{PREFIX}run_id": run.run_id, f"{PREFIX}night": run.night}


def _joined(parts: list[pa.Table], schema: pa.Schema) -> pa.Table:
    return pa.concat_tables([schema.empty_table(), *(p.cast(schema) for p in parts)])


_SAME = " AND ".join(f"b.{c} IS NOT DISTINCT FROM c.{c}" for c in TARGET_COLUMNS)

_JUDGED = f"""
CREATE TEMP TABLE judged AS
SELECT coalesce(b.image_id, c.image_id) AS image_id, b.file, CASE
    WHEN b.image_id IS NULL THEN 'added'
    WHEN c.image_id IS NULL THEN 'removed'
    WHEN {_SAME} THEN 'kept' ELSE 'updated' END AS verdict
FROM base b FULL JOIN corpus c USING (image_id)
"""

_ADDED = """
SELECT * FROM corpus
WHERE image_id IN (SELECT image_id FROM judged WHERE verdict = 'added')
ORDER BY shard, row
"""

_COUNTS = """
SELECT count(*) FILTER (verdict = 'added') AS added,
    count(*) FILTER (verdict = 'updated') AS updated,
    count(*) FILTER (verdict = 'removed') AS removed
FROM judged
"""

_HIT = "SELECT DISTINCT file FROM judged WHERE verdict IN ('updated', 'removed')"

_UPDATED = f"""
SELECT c.image_id, {", ".join(f"c.{column}" for column in TARGET_COLUMNS)},
    b.latent, b.reconstruction_error, b.space_id,
    CASE WHEN {_SAME} THEN b.run_id ELSE $1 END AS run_id
FROM part b JOIN corpus c USING (image_id) ORDER BY c.shard, c.row
"""
