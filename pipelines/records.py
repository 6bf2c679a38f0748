"""The typed records that flow between transforms and stages."""

import dataclasses
from typing import Any, Literal, NamedTuple, get_args

Status = Literal["accepted", "duplicate", "rejected", "gone"]
"""What became of an entry, as the image table says it."""

Reason = Literal[
    "missing",  # listed, but not there (or not readable) when it was opened
    "empty",  # zero bytes
    "too_many_bytes",  # above max_bytes; not read further
    "not_an_image",  # no known image signature
    "unsupported_format",  # an image, but of a format we do not read
    "too_many_pixels",  # the header promises more than max_pixels; not decoded
    "too_small",  # shorter side under min_side
    "truncated",  # the data ends before the picture does
    "corrupt",  # the decoder refused it
]
"""Why an entry was left out: the whole list."""

REASONS: tuple[Reason, ...] = get_args(Reason)
Split = Literal["train", "eval"]


class Entry(NamedTuple):
    """One thing that a source lists.

    Attributes:
        source_uri: Its name in the source, unique; ``FILE#PLACE`` inside a container.
        bytes: Its size (or that of its container), where the source knows it.
        modified: When it (or its container) was changed, in microseconds since 1970.
        etag: The object store's own fingerprint, where there is one.
        label: Its label, where the source gives one.
        split: The source's own split, where it gives one.
        container: The file that holds it; its own path for a plain file.
        offset: Where in the container: byte offset (tar, idx, cifar) or row (parquet).
        length: How many bytes from there on (tar, idx, cifar).
    """

    source_uri: str
    bytes: int | None = None
    modified: int | None = None
    etag: str | None = None
    label: str | None = None
    split: Split | None = None
    container: str = ""
    offset: int | None = None
    length: int | None = None


class Rejection(NamedTuple):
    """Why one image was left out, and what the decoder said."""

    reason: Reason
    detail: str


class Chunk(NamedTuple):
    """The element of an ingest pipeline: a range of the run's list of due entries.

    Attributes:
        digest: Digest of the entries and the image spec; names the shard.
        due: Path of the Arrow file that lists the due entries.
        start: First entry.
        stop: One past the last entry.
    """

    digest: str
    due: str
    start: int
    stop: int


class ChunkTally(NamedTuple):
    """What became of one chunk.

    Attributes:
        entries: Its entries: decoded, known and rejected ones together.
        decoded: Entries whose image lies in the chunk's shard.
        known: Entries whose bytes are an image of an earlier night.
        rejected: Entries left out.
        blank: Decoded images of one single colour.
        skipped: Whether the chunk was done before, and left alone.
    """

    entries: int
    decoded: int
    known: int
    rejected: int
    blank: int
    skipped: bool


@dataclasses.dataclass(frozen=True)
class StageResult:
    """What a stage has to say of itself; ``perform`` makes the manifest of it.

    Attributes:
        counts: Whole numbers that must add up.
        figures: Measured values (losses, accuracies, rates).
        read: What was read: name to path, digest or snapshot.
        wrote: What was written, likewise.
        note: One sentence for people; for a skipped stage, why.
        skipped: Whether there was nothing to do (exit code 10).
    """

    counts: dict[str, int] = dataclasses.field(default_factory=dict)
    figures: dict[str, Any] = dataclasses.field(default_factory=dict)
    read: dict[str, Any] = dataclasses.field(default_factory=dict)
    wrote: dict[str, Any] = dataclasses.field(default_factory=dict)
    note: str = ""
    skipped: bool = False
