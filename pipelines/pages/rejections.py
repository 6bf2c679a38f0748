"""The night's rejections: how many by reason, and what can be read of some of them."""

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from pipelines.errors import LatentlakeError
from pipelines.lake import inventory, ranges, shards, store
from pipelines.lake.run import Run
from pipelines.pages import pictures
from pipelines.records import Entry, Rejection
from pipelines.sources import registry

EXAMPLES = 4
"""Examples of each reason."""
MOST_BYTES = 16 * 2**20
MOST_PIXELS = 20_000_000
SIDE = 96
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "GIF", "TIFF")
"""What Pillow may try on broken bytes; others run programs of their own."""

TITLES = {
    "missing": "not there when it was opened",
    "empty": "zero bytes",
    "too_many_bytes": "larger than max_bytes",
    "not_an_image": "not an image",
    "unsupported_format": "a format we do not read",
    "too_many_pixels": "more pixels than max_pixels",
    "too_small": "smaller than min_side",
    "truncated": "ends too early",
    "corrupt": "the decoder refused it",
}

log = logging.getLogger(__name__)


class Example(NamedTuple):
    """One rejection: what it was, and a picture of what could be read of it."""

    reason: str
    source_uri: str
    detail: str
    picture: str


class Bar(NamedTuple):
    """One reason: how often, and its share of the most frequent one."""

    reason: str
    title: str
    entries: int
    share: float


def rows_of(run: Run) -> pa.Table | None:
    """Return tonight's rejections: source_uri, reason, detail; ``None`` if unknown.

    From the staged inventory; after a night that failed before that, from the
    inventories beside tonight's shards.
    """
    columns = ["source_uri", "reason", "detail"]
    staged = inventory.staged(run)
    if staged is not None:
        tonight = pc.and_(
            pc.equal(staged["status"], "rejected"),
            pc.equal(staged["run_id"], run.run_id),
        )
        return staged.filter(tonight).select(columns)
    if not store.exists(run.path("due.arrow")):
        return None
    folder = run.lake.shards(run.image_spec_id, run.night)
    found = [
        shards.read_inventory(f"{folder}/{name}").rows
        for name in store.names(folder)
        if name.endswith(".parquet")
    ]
    rows = pa.concat_tables([shards.INVENTORY_SCHEMA.empty_table(), *found])
    return rows.filter(pc.equal(rows["outcome"], "rejected")).select(columns)


def bars(rows: pa.Table) -> list[Bar]:
    """Return how often each reason was given, the most frequent first."""
    counted = rows["reason"].value_counts().to_pylist()
    found = sorted((one["counts"], one["values"] or "") for one in counted)[::-1]
    most = found[0][0] if found else 1
    return [
        Bar(reason, TITLES.get(reason, reason), count, count / most)
        for count, reason in found
    ]


def examples(run: Run, rows: pa.Table) -> list[Example]:
    """Return some of ``rows`` of each reason, with pictures where bytes can be had."""
    taken: dict[str, int] = {}
    chosen = []
    for row in rows.sort_by("source_uri").to_pylist():
        taken[row["reason"]] = taken.get(row["reason"], 0) + 1
        if taken[row["reason"]] <= EXAMPLES:
            chosen.append(row)
    found = _bytes_of(run, [row["source_uri"] for row in chosen])
    return [
        Example(
            row["reason"],
            row["source_uri"],
            row["detail"] or "",
            picture_of(found.get(row["source_uri"], b"")),
        )
        for row in chosen
    ]


def picture_of(data: bytes) -> str:
    """Return what can be read of broken ``data`` as a data URI; empty for nothing.

    Nothing that ``data`` holds raises, or costs more than a bounded time.
    """
    from PIL import Image, ImageFile

    if not data:
        return ""
    before = ImageFile.LOAD_TRUNCATED_IMAGES
    ImageFile.LOAD_TRUNCATED_IMAGES = True
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            image = Image.open(io.BytesIO(data), formats=FORMATS)
            if image.width * image.height > MOST_PIXELS:
                return ""
            image.draft("RGB", (SIDE, SIDE))
            small = image.convert("RGB")
            small.thumbnail((SIDE, SIDE))
            return pictures.small_uri(np.asarray(small))
    except Exception:  # whatever a decoder may say of bytes that it refused before
        return ""
    finally:
        ImageFile.LOAD_TRUNCATED_IMAGES = before


def _bytes_of(run: Run, uris: Sequence[str]) -> dict[str, bytes]:
    """Return the bytes of the entries of tonight at ``uris``, as far as they go."""
    path = run.path("due.arrow")
    if not uris or not store.exists(path):
        return {}
    due = ranges.read(path)
    wanted = due.filter(pc.is_in(due["source_uri"], pa.array(uris)))
    small = [
        Entry(*(row[name] for name in Entry._fields))
        for row in wanted.to_pylist()
        if (row["length"] or row["bytes"] or 0) <= MOST_BYTES
    ]
    return dict(_read(run, small))


def _read(run: Run, entries: list[Entry]) -> Iterator[tuple[str, bytes]]:
    with contextlib.suppress(OSError, LatentlakeError):  # it may be gone by now
        source = registry.open_source(run.settings.source)
        for entry, data in source.read(entries):
            if not isinstance(data, Rejection):
                yield entry.source_uri, data
