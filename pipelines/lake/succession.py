"""Who speaks for an image: what tonight's entries make of the image table.

The same bytes twice are one image with two entries. Of those that are there, the one
of the earliest night speaks for it (then the smallest URI): it is accepted, the others
are duplicates. When it goes, or its bytes change, the next one speaks.
"""

import datetime
import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import pyarrow as pa

from pipelines.config import SplitSettings
from pipelines.lake import sql
from pipelines.lake.tables import IMAGES_SCHEMA


class Resolved(NamedTuple):
    """What tonight makes of the image table.

    Attributes:
        rows: Rows to put into it, each in place of the row of the same ``source_uri``;
            a row that would change nothing is left out.
        counts: Of tonight's entries: accepted, duplicate, rejected, and touched (same
            bytes, label and split as before: they count as known). Newly gone ones.
            Images whose entries disagree: label_conflicts, split_conflicts.
    """

    rows: pa.Table
    counts: dict[str, int]


def resolve(
    base_images: pa.Table,
    tonight: pa.Table,
    gone: Sequence[str],
    *,
    night: datetime.date,
    run_id: str,
    split: SplitSettings,
) -> Resolved:
    """Return what the rows of ``tonight`` and the ``gone`` URIs make of the base.

    The result is a function of the arguments alone; applied to a base that holds it
    already, it is empty.
    """
    with sql.connect() as db:
        db.register("base", base_images)
        db.register("tonight", tonight)
        db.register("gone", pa.table({"source_uri": pa.array(gone, pa.string())}))
        db.execute("SET VARIABLE night = $1", [night])
        db.execute(_ENTRIES.format(held_out=split_sql(split, "t.image_id")))
        db.execute(_IMAGES)
        db.execute(_AFTER)
        rows = db.execute(_ROWS, [run_id]).to_arrow_table().cast(IMAGES_SCHEMA)
        counts = db.execute(_COUNTS).to_arrow_table().to_pylist()[0]
    return Resolved(rows, {name: int(value) for name, value in counts.items()})


def split_of(image_id: str, split: SplitSettings) -> str:
    """Return the side of an image whose source names none: a stable hash of it."""
    factor, shift = _mix(split.seed)
    mixed = (int(image_id[:8], 16) * factor + shift) % 2**32
    return "eval" if mixed < _limit(split.eval_fraction) else "train"


def split_sql(split: SplitSettings, column: str) -> str:
    """Return :func:`split_of` as an SQL expression; null where ``column`` is null."""
    factor, shift = _mix(split.seed)
    number = f"('0x' || substr({column}, 1, 8))::UBIGINT"
    return (
        f"CASE WHEN {column} IS NULL THEN NULL "
        f"WHEN ({number} * {factor}::UBIGINT + {shift}::UBIGINT) % {2**32}::UBIGINT "
        f"< {_limit(split.eval_fraction)} THEN 'eval' ELSE 'train' END"
    )


def _mix(seed: int) -> tuple[int, int]:
    """Return an odd factor and a shift, of 32 bits each, that stand for ``seed``."""
    digest = hashlib.sha256(str(seed).encode()).hexdigest()
    return int(digest[:8], 16) | 1, int(digest[8:16], 16)


def _limit(fraction: float) -> int:
    return round(fraction * 2**32)


_ENTRIES = """
CREATE TEMP TABLE entries AS  -- every entry that tonight may touch, as it now stands
WITH spoken_of AS (
    SELECT image_id FROM tonight
    UNION SELECT image_id FROM base SEMI JOIN tonight USING (source_uri)
    UNION SELECT image_id FROM base SEMI JOIN gone USING (source_uri)
)
SELECT t.source_uri, t.image_id, t.outcome = 'rejected' AS rejected, FALSE AS is_gone,
    t.reason, t.detail, t.label, coalesce(t.split, {held_out}) AS split,
    CASE WHEN b.status <> 'gone' AND b.image_id IS NOT DISTINCT FROM t.image_id
        THEN b.night ELSE getvariable('night') END AS night,
    t.width, t.height, t.format, t.bytes,
    make_timestamptz(t.modified) AS modified, t.etag,
    NULL::DATE AS gone_night, TRUE AS listed,
    coalesce(t.outcome = 'known' AND b.status <> 'gone' AND b.image_id = t.image_id
        AND b.label IS NOT DISTINCT FROM t.label
        AND b.split = coalesce(t.split, {held_out}), FALSE) AS touched
FROM tonight t LEFT JOIN base b USING (source_uri)
UNION ALL
SELECT b.source_uri, b.image_id, b.status = 'rejected', b.status = 'gone' OR b.now,
    b.reason, b.detail, b.label, b.split, b.night,
    b.width, b.height, b.format, b.bytes, b.modified, b.etag,
    CASE WHEN b.status <> 'gone' AND b.now THEN getvariable('night')
        ELSE b.gone_night END, FALSE, FALSE
FROM (
    SELECT *, source_uri IN (SELECT source_uri FROM gone) AS now
    FROM base ANTI JOIN tonight USING (source_uri)
) b
WHERE now OR image_id IN (SELECT image_id FROM spoken_of WHERE image_id NOTNULL)
"""

_IMAGES = """
CREATE TEMP TABLE images AS  -- when each image was first seen, where its pixels are
WITH places AS (
    SELECT image_id, night, shard, row, width, height, format, FALSE AS fresh
    FROM base SEMI JOIN entries USING (image_id)
    UNION ALL
    SELECT t.image_id, e.night, t.shard, t.row, t.width, t.height, t.format,
        t.outcome = 'decoded'
    FROM tonight t JOIN entries e USING (source_uri) WHERE t.outcome <> 'rejected'
)
SELECT image_id, shard, row, width, height, format,
    min(night) OVER (PARTITION BY image_id) AS first_night
FROM places
QUALIFY row_number() OVER (
    PARTITION BY image_id ORDER BY fresh DESC, shard NULLS LAST, row, night
) = 1
"""

_AFTER = """
CREATE TEMP TABLE after AS  -- the entries as rows of the image table
WITH ranked AS (
    SELECT *, row_number() OVER (
        PARTITION BY image_id, is_gone OR rejected ORDER BY night, source_uri
    ) = 1 AS speaks
    FROM entries
)
SELECT e.source_uri, e.image_id,
    CASE WHEN is_gone THEN 'gone' WHEN rejected THEN 'rejected'
        WHEN speaks THEN 'accepted' ELSE 'duplicate' END AS status,
    e.reason, e.detail, e.label, e.split,
    CASE WHEN status = 'accepted' THEN i.first_night ELSE e.night END AS night,
    coalesce(e.width, i.width) AS width, coalesce(e.height, i.height) AS height,
    coalesce(e.format, i.format) AS format, e.bytes, e.modified, e.etag,
    CASE WHEN NOT rejected THEN i.shard END AS shard,
    CASE WHEN NOT rejected THEN i.row END AS row, e.gone_night, e.listed, e.touched
FROM ranked e LEFT JOIN images i USING (image_id)
"""

_ROWS = """
SELECT *, $1 AS run_id FROM (
    SELECT * EXCLUDE (listed, touched) FROM after
    EXCEPT SELECT * EXCLUDE (run_id) FROM base
) ORDER BY source_uri
"""

_COUNTS = """
WITH conflicts AS (
    SELECT count(DISTINCT label) > 1 AS labels, count(DISTINCT split) > 1 AS splits
    FROM after WHERE status IN ('accepted', 'duplicate') GROUP BY image_id
)
SELECT count(*) FILTER (status = 'accepted' AND listed AND NOT touched) AS accepted,
    count(*) FILTER (status = 'duplicate' AND listed AND NOT touched) AS duplicate,
    count(*) FILTER (status = 'rejected' AND listed) AS rejected,
    count(*) FILTER (touched) AS touched,
    count(*) FILTER (
        status = 'gone' AND source_uri IN (SELECT source_uri FROM gone)
        AND source_uri IN (SELECT source_uri FROM base WHERE status <> 'gone')
    ) AS gone,
    (SELECT count(*) FILTER (labels) FROM conflicts) AS label_conflicts,
    (SELECT count(*) FILTER (splits) FROM conflicts) AS split_conflicts
FROM after
"""
