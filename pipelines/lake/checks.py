"""What must hold on an audit branch before ``main`` moves to it.

What was added is read back whole; totals come from one scan of the ids.
"""

import math
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import ArtifactMismatch, BadNight
from pipelines.lake import sql, tables
from pipelines.lake.branches import Draft
from pipelines.lake.layout import Lake

if TYPE_CHECKING:
    from pyiceberg.table import Table

NORM_LIMIT = 100.0
"""A latent may be so many times as long as the longest one of training, or as one of
unit numbers where the card does not say how long those were."""
MOVING_ROWS = 50
"""From so many rows on, a dimension that never moves is dead."""
ADDED_COLUMNS = ("image_id", "latent", "reconstruction_error")


class Space(NamedTuple):
    """What the latents of a space look like.

    Attributes:
        space_id: The space.
        latent_dim: Numbers in a latent.
        dead: Dimensions that were dead in training, and passed the gate.
        longest: Length of the longest latent of training; 0 where it is not known.
    """

    space_id: str
    latent_dim: int
    dead: int
    longest: float


def check_images(lake: Lake, draft: Draft, accepted: int) -> None:
    """Raise :class:`BadNight` where the drafted image table does not add up."""
    table = tables.load(lake, draft.name)
    columns = ("source_uri", "status", "image_id", "shard")
    parts = [rows for _, rows in tables.parts(table, draft.snapshot, columns)]
    with sql.connect() as db:
        db.register("images", pa.concat_tables(parts))
        found = db.execute(_IMAGES).to_arrow_table().to_pylist()[0]
    where = f"{lake.dataset}.images on {draft.branch}"
    _expect(where, "rows with a source_uri of their own", found["uris"], found["n"])
    _expect(where, "accepted rows", found["accepted"], accepted)
    _expect(where, "distinct accepted images", found["ids"], found["accepted"])
    _expect(where, "accepted rows with a shard", found["placed"], found["accepted"])
    _expect(where, "duplicates of no accepted image", found["orphans"], 0)


def check_features(lake: Lake, draft: Draft, corpus: pa.Table, space: Space) -> None:
    """Raise where the drafted feature table is not one that people can trust.

    Raises:
        ArtifactMismatch: Another space, or latents of another width.
        BadNight: Rows, ids or numbers that do not add up.
    """
    table = tables.load(lake, draft.name)
    where = f"{lake.dataset}.features on {draft.branch}"
    ids = []
    for file, rows in tables.parts(table, draft.snapshot, ("image_id",)):
        if file.partition[0] != space.space_id:
            raise ArtifactMismatch(
                f"{where}: {file.record_count} rows are of space {file.partition[0]}, "
                f"and the accepted one is {space.space_id}. Two spaces are never "
                "mixed; run encode and publish again."
            )
        ids += rows["image_id"].chunks
    found = pa.chunked_array(ids, pa.string())
    _expect(where, "rows", len(found), corpus.num_rows)
    _expect(where, "distinct ids", pc.count_distinct(found).as_py(), len(found))
    missing = pc.invert(pc.is_in(corpus["image_id"], value_set=found))
    _expect(where, "accepted images without a row", pc.sum(missing).as_py() or 0, 0)
    _check_added(table, draft, space)


def _check_added(table: "Table", draft: Draft, space: Space) -> None:
    where = f"{'.'.join(table.name())} on {draft.branch}"
    low = np.full(space.latent_dim, np.inf, np.float32)
    high = -low
    count = 0
    only = set(draft.added)
    for _, rows in tables.parts(table, draft.snapshot, ADDED_COLUMNS, only):
        latents = _matrix(where, rows, space)
        _check_numbers(where, rows, latents, space)
        low = np.minimum(low, latents.min(axis=0, initial=np.inf))
        high = np.maximum(high, latents.max(axis=0, initial=-np.inf))
        count += rows.num_rows
    dead = int(np.count_nonzero(high <= low))
    if count >= MOVING_ROWS and dead > space.dead:
        raise BadNight(
            f"{where}: {dead} of {space.latent_dim} dimensions are the same in all "
            f"{count} rows added, {space.dead} in training. Look at the encoder "
            f"{space.space_id} and at tonight's images; nothing was published."
        )


def _matrix(where: str, rows: pa.Table, space: Space) -> np.ndarray:
    """Return the latents of ``rows`` as one array, each of the space's width."""
    column = rows["latent"].combine_chunks()
    widths = pc.unique(pc.list_value_length(column)).to_pylist()
    if widths not in ([space.latent_dim], []):
        raise ArtifactMismatch(
            f"{where}: found latents of {sorted(widths)} numbers, and space "
            f"{space.space_id} has {space.latent_dim}. Run encode and publish again."
        )
    values = column.flatten().to_numpy(zero_copy_only=False)
    return values.reshape(-1, space.latent_dim)


def _check_numbers(
    where: str, rows: pa.Table, latents: np.ndarray, space: Space
) -> None:
    errors = rows["reconstruction_error"].to_numpy()
    # A sum of squares is finite only where every number is (float64: no overflow).
    squares = np.einsum("ij,ij->i", latents, latents, dtype=np.float64)
    longest = NORM_LIMIT * (space.longest or math.sqrt(space.latent_dim))
    wrong = {
        "latents with NaN or infinity": ~np.isfinite(squares),
        "latents of nothing but zeros": squares == 0.0,
        f"latents longer than {longest:.0f}": squares > longest**2,
        "reconstruction errors that are no number or negative": ~(
            np.isfinite(errors) & (errors >= 0.0)
        ),
    }
    for what, hit in wrong.items():
        if hit.any():
            first = rows["image_id"][int(np.argmax(hit))].as_py()
            raise BadNight(
                f"{where}: found {np.count_nonzero(hit)} {what}, expected 0 (the "
                f"first: image {first}). Nothing was published; look at that image "
                "and at the encoder, then run encode and publish again."
            )


def _expect(where: str, what: str, found: int, expected: int) -> None:
    if found != expected:
        raise BadNight(
            f"{where}: found {found} {what}, expected {expected}. Nothing was "
            "published. Run ingest, encode and publish again; if it stays so, report "
            "it with the run's folder."
        )


_IMAGES = """
WITH accepted AS (SELECT * FROM images WHERE status = 'accepted')
SELECT count(*) AS n, count(DISTINCT source_uri) AS uris,
    (SELECT count(*) FROM accepted) AS accepted,
    (SELECT count(DISTINCT image_id) FROM accepted) AS ids,
    (SELECT count(shard) FROM accepted) AS placed,
    (SELECT count(*) FROM images ANTI JOIN accepted USING (image_id)
        WHERE status = 'duplicate') AS orphans
FROM images
"""
