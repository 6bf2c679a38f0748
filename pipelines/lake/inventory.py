"""What the source has against what the image table says: the inventory of a night.

``diff`` finds what is due, ``stage`` keeps what became of it under the run, ``corpus``
is the accepted images as they will be after tonight. SQL over Arrow tables.
"""

import bisect
import io
from collections.abc import Sequence
from typing import NamedTuple

import duckdb
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow import parquet

from pipelines.errors import BadNight, ConfigError
from pipelines.lake import sql, store, tables
from pipelines.lake.run import Run
from pipelines.lake.succession import Resolved, resolve, split_of, split_sql
from pipelines.records import Entry

__all__ = [
    "CORPUS_COLUMNS",
    "Due",
    "Resolved",
    "Tonight",
    "corpus",
    "diff",
    "read_tonight",
    "resolve",
    "split_of",
    "stage",
    "staged",
    "write_tonight",
]

STAGED = "inventory.parquet"
TONIGHT = "tonight.parquet"
GONE = "gone.parquet"
CORPUS_COLUMNS = (
    "image_id",
    "source_uri",
    "label",
    "split",
    "night",
    "width",
    "height",
    "shard",
    "row",
)


class Due(NamedTuple):
    """What a night has to do.

    Attributes:
        due: Entries to read (columns of ``Entry``) and what they ``was``: new or
            changed; in the order of their containers.
        counts: listed, new, changed, known, gone; listed = new + changed + known.
        gone: The ``source_uri`` of each entry that is no longer there.
        known_ids: Digests, sorted, of bytes that are an image of this image spec
            already: not to be decoded again.
    """

    due: pa.Table
    counts: dict[str, int]
    gone: pa.Table
    known_ids: pa.ChunkedArray


class Tonight(NamedTuple):
    """What became of the night's entries, before it is weighed against a base.

    Attributes:
        rows: The inventories of all chunks, one after the other.
        gone: The ``source_uri`` of each entry that is no longer there.
    """

    rows: pa.Table
    gone: list[str]


def diff(run: Run, listing: pa.Table, roots: Sequence[str]) -> Due:
    """Return what of ``listing`` is due against the image table that ``run`` pinned.

    Absence is judged only below ``roots``, those of the run's source: a root covers
    itself and what follows it behind ``/`` or ``#``.

    Raises:
        BadNight: The source lists an entry twice.
        ConfigError: The image spec changed, and the roots do not cover all entries.
    """
    base = tables.read_images(run.lake, run.images_base)
    same_spec = _spec_of_base(run) == run.image_spec_id
    with sql.connect() as db:
        db.register("base", base)
        db.register("listing", listing.select(list(Entry._fields)))
        _require_unique(db)
        absent = db.execute(_ABSENT).to_arrow_table()["source_uri"]
        covered = below(absent, roots)
        if not same_spec:
            _require_covered(run, absent.filter(pc.invert(covered)))
        held_out = split_sql(run.settings.split, "b.image_id")
        due = db.execute(_DUE.format(held_out=held_out), [same_spec]).to_arrow_table()
        ids = db.execute(_KNOWN_IDS, [f"{run.image_spec_id}/"]).to_arrow_table()
    gone = pa.table({"source_uri": absent.filter(covered)})
    return Due(due, _counts(listing, due, gone), gone, ids["image_id"])


def stage(run: Run, tonight: pa.Table, gone: Sequence[str]) -> Resolved:
    """Keep what became of the night's entries, and what it makes of the run's base."""
    base = tables.read_images(run.lake, run.images_base)
    rows = write_tonight(run, _with_places(tonight, base), gone)
    resolved = resolve(
        base,
        rows,
        gone,
        night=run.date,
        run_id=run.run_id,
        split=run.settings.split,
    )
    _write(run.path(STAGED), resolved.rows)
    return resolved


def staged(run: Run) -> pa.Table | None:
    """Return the rows that :func:`stage` wants put on the run's own base."""
    return _read(run.path(STAGED))


def write_tonight(run: Run, tonight: pa.Table, gone: Sequence[str]) -> pa.Table:
    """Keep the raw rows under the run, for a publish whose base has moved."""
    _write(run.path(GONE), pa.table({"source_uri": pa.array(gone, pa.string())}))
    _write(run.path(TONIGHT), tonight)
    return tonight


def read_tonight(run: Run) -> Tonight | None:
    """Return what :func:`write_tonight` kept, or ``None`` where nothing was due."""
    rows = _read(run.path(TONIGHT))
    gone = _read(run.path(GONE))
    if rows is None or gone is None:
        return None
    return Tonight(rows, gone["source_uri"].to_pylist())


def corpus(run: Run) -> pa.Table:
    """Return the accepted images as they will be after tonight, by shard and row."""
    base = tables.read_images(run.lake, run.images_base)
    return corpus_of(base, staged(run))


def corpus_of(base: pa.Table, put: pa.Table | None) -> pa.Table:
    """Return the accepted images of ``base`` with the rows of ``put`` applied."""
    with sql.connect() as db:
        db.register("base", base)
        db.register("put", tables.IMAGES_SCHEMA.empty_table() if put is None else put)
        return db.execute(_CORPUS).to_arrow_table()


def _counts(listing: pa.Table, due: pa.Table, gone: pa.Table) -> dict[str, int]:
    new = pc.sum(pc.equal(due["was"], "new")).as_py() or 0
    return {
        "listed": listing.num_rows,
        "new": new,
        "changed": due.num_rows - new,
        "known": listing.num_rows - due.num_rows,
        "gone": gone.num_rows,
    }


def _spec_of_base(run: Run) -> str:
    properties = tables.snapshot_properties(run.lake, "images", run.images_base)
    return properties.get("latentlake.image_spec_id", run.image_spec_id)


def _require_unique(db: duckdb.DuckDBPyConnection) -> None:
    twice = db.execute(_TWICE).fetchone()
    if twice:
        raise BadNight(
            f"{twice[0]}: the source lists this entry {twice[1]} times, and each must "
            "have a name of its own. Remove the repeated line or file, then run again."
        )


def _require_covered(run: Run, outside: pa.ChunkedArray) -> None:
    if len(outside):
        raise ConfigError(
            f"{run.lake.dataset}: the settings in [image] changed (image spec "
            f"{_spec_of_base(run)} before, {run.image_spec_id} now), so every image "
            f"is due again; but {len(outside)} entries lie outside the source of this "
            f"run (the first: {outside[0]}). Run the night with the dataset's whole "
            "source, or set [image] back."
        )


def below(uris: pa.ChunkedArray, roots: Sequence[str]) -> pa.BooleanArray:
    """Return for each of ``uris`` whether it lies below one of ``roots``."""
    whole = set(roots)
    prefixes: list[str] = []
    for prefix in sorted({p for root in roots for p in _prefixes(root)}):
        if not prefixes or not prefix.startswith(prefixes[-1]):
            prefixes.append(prefix)  # none begins with another: the nearest decides
    found = []
    for uri in uris.to_pylist():
        nearest = bisect.bisect_right(prefixes, uri)
        covered = nearest > 0 and uri.startswith(prefixes[nearest - 1])
        found.append(covered or uri in whole)
    return pa.array(found, pa.bool_())


def _prefixes(root: str) -> list[str]:
    return [root] if root.endswith(("/", "#")) else [f"{root}/", f"{root}#"]


def _with_places(tonight: pa.Table, base: pa.Table) -> pa.Table:
    """Return ``tonight`` with the shard and row of the images the base knows."""
    with sql.connect() as db:
        db.register("base", base)
        db.register("tonight", tonight)
        return db.execute(_PLACES).to_arrow_table().cast(tonight.schema)


def _write(path: str, rows: pa.Table) -> None:
    with store.aside(path) as file:
        parquet.write_table(rows, file, compression="zstd")


def _read(path: str) -> pa.Table | None:
    if not store.exists(path):
        return None
    return parquet.read_table(io.BytesIO(store.read_bytes(path)))


_TWICE = """
SELECT source_uri, count(*) FROM listing
GROUP BY source_uri HAVING count(*) > 1 ORDER BY source_uri LIMIT 1
"""

_ABSENT = """
SELECT source_uri FROM base ANTI JOIN listing USING (source_uri)
WHERE status <> 'gone' ORDER BY source_uri
"""

_DUE = """
SELECT l.*, CASE WHEN b.source_uri IS NULL OR b.status = 'gone' THEN 'new'
    ELSE 'changed' END AS was
FROM listing l LEFT JOIN base b USING (source_uri)
WHERE NOT coalesce(
    $1 AND b.status <> 'gone'
        AND b.reason IS DISTINCT FROM 'missing'  -- it may be there by now
        AND coalesce(l.bytes, b.bytes) IS NOT DISTINCT FROM b.bytes
        AND make_timestamptz(l.modified) IS NOT DISTINCT FROM b.modified
        AND l.etag IS NOT DISTINCT FROM b.etag
        AND l.label IS NOT DISTINCT FROM b.label
        AND coalesce(l.split, {held_out}) IS NOT DISTINCT FROM b.split,
    FALSE  -- the base has no such entry
)
ORDER BY container, "offset" NULLS FIRST, source_uri
"""

_KNOWN_IDS = """
SELECT DISTINCT image_id FROM base WHERE starts_with(shard, $1) ORDER BY image_id
"""

_PLACES = """
SELECT t.* REPLACE (
    coalesce(t.width, k.width) AS width, coalesce(t.height, k.height) AS height,
    coalesce(t.format, k.format) AS format,
    coalesce(t.shard, k.shard) AS shard, coalesce(t.row, k.row) AS row
)
FROM tonight t LEFT JOIN (
    SELECT DISTINCT ON (image_id) image_id, shard, row, width, height, format
    FROM base WHERE shard NOTNULL ORDER BY image_id, shard, row
) k ON t.image_id = k.image_id AND t.outcome = 'known'
ORDER BY t.source_uri
"""

_CORPUS = f"""
SELECT {", ".join(CORPUS_COLUMNS)} FROM (
    SELECT * FROM base ANTI JOIN put USING (source_uri)
    UNION ALL BY NAME SELECT * FROM put
) WHERE status = 'accepted' ORDER BY shard, row
"""
