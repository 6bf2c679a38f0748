"""The list of a run's examples: transform leaves it in the run, train reads it."""

import re
from collections.abc import Iterable
from typing import Any, NamedTuple

from pipelines.errors import ArtifactMismatch
from pipelines.lake import manifest, store

NAME = "examples.json"
FORMAT_VERSION = 1
SPLITS = ("train", "eval")
_PATH = re.compile(rf"({'|'.join(SPLITS)})/[\w.-]+\.tfrecord", re.ASCII)
_SHA256 = re.compile(r"[0-9a-f]{64}")


class ExampleFile(NamedTuple):
    """A file of examples, as the run's list has it.

    Attributes:
        path: Below the transform's folder of examples: ``<split>/<name>``.
        bytes: Its size.
        sha256: Its digest: who copies it may check the copy.
    """

    path: str
    bytes: int
    sha256: str


def write(path: str, files: Iterable[ExampleFile]) -> None:
    """Put the list of ``files``, by path, at ``path``."""
    listed = [file._asdict() for file in sorted(files)]
    store.write_json(path, {"format_version": FORMAT_VERSION, "files": listed})


def read(path: str) -> list[ExampleFile]:
    """Return the files that the list at ``path`` has, by path.

    Raises:
        ArtifactMismatch: It is of a newer format, or an entry names no such file.
    """
    value = store.read_json(path)
    manifest.check_version(value, path, FORMAT_VERSION)
    return sorted(_checked(entry, path) for entry in value["files"])


def _checked(entry: dict[str, Any], path: str) -> ExampleFile:
    """Return an entry that is sound: its path will be part of another."""
    sound = (
        isinstance(entry.get("bytes"), int)
        and _PATH.fullmatch(str(entry.get("path")))
        and _SHA256.fullmatch(str(entry.get("sha256")))
    )
    if not sound:
        raise ArtifactMismatch(
            f"{path}: has an entry that names no file of examples: {entry}. "
            "Run transform again with --again."
        )
    return ExampleFile(entry["path"], entry["bytes"], entry["sha256"])
