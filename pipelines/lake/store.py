"""Files of the lake, local or in a bucket: read whole, written aside, put in place."""

import contextlib
import errno
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from typing import IO, Any

import fsspec

from pipelines.errors import ArtifactMismatch, OutOfSpace

BUFFER_BYTES = 2**20
"""What a file gathers before it is written: records come in kilobytes."""
FREE_RESERVE = 256 * 2**20
"""Bytes of disk that a stage leaves alone."""


def is_local(path: str) -> bool:
    """Return whether ``path`` is on this machine's disk."""
    return "://" not in path


def exists(path: str) -> bool:
    """Return whether there is a file or folder at ``path``."""
    if is_local(path):
        return os.path.exists(path)
    fs, inner = fsspec.core.url_to_fs(path)
    return bool(fs.exists(inner))


def read_bytes(path: str) -> bytes:
    """Return the whole content of the file at ``path``."""
    with fsspec.open(path, "rb") as file:
        return bytes(file.read())


def read_json(path: str) -> Any:
    """Return the JSON value in the file at ``path``.

    Raises:
        ArtifactMismatch: What it holds is not JSON.
    """
    try:
        return json.loads(read_bytes(path))
    except ValueError as error:  # of JSON, or of its encoding
        raise ArtifactMismatch(
            f"{path}: is damaged: it does not hold JSON ({error}). Restore it from a "
            "copy; a run that holds a damaged file can be left for a new one."
        ) from error


def size(path: str) -> int:
    """Return the size of the file at ``path``, in bytes."""
    if is_local(path):
        return os.path.getsize(path)
    fs, inner = fsspec.core.url_to_fs(path)
    return int(fs.size(inner))


def names(folder: str) -> list[str]:
    """Return the names of what lies in ``folder``, sorted; none where it is missing."""
    fs, inner = fsspec.core.url_to_fs(folder)
    if not fs.isdir(inner):
        return []
    found = (path.rstrip("/").rsplit("/", 1)[-1] for path in fs.ls(inner, detail=False))
    return sorted(name for name in found if not name.startswith("."))


@contextlib.contextmanager
def aside(path: str) -> Iterator[IO[bytes]]:
    """Yield a file to write; it stands at ``path`` whole, or not at all.

    On a disk: a hidden neighbour, flushed to the disk and renamed. In a bucket: one
    upload of the finished file (one that is written there is completed by its closing,
    even where an error closes it).

    Raises:
        OutOfSpace: The disk is full.
    """
    if not is_local(path):
        fs, inner = fsspec.core.url_to_fs(path)
        with tempfile.NamedTemporaryFile(prefix="latentlake-") as whole:
            yield whole.file
            whole.flush()
            fs.put_file(whole.name, inner)
        return
    folder, name = os.path.split(path)
    os.makedirs(folder, exist_ok=True)
    hidden = os.path.join(folder, f".{name}.{uuid.uuid4().hex}")
    try:
        with open(hidden, "wb", buffering=BUFFER_BYTES) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(hidden, path)
    except BaseException as error:
        with contextlib.suppress(OSError):
            os.unlink(hidden)
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise OutOfSpace(
                f"{path}: the disk is full ({error.strerror}). Nothing half-written "
                "was left; free some space and run the same command again."
            ) from error
        raise


def write_bytes(path: str, data: bytes) -> None:
    """Put ``data`` at ``path``, whole or not at all."""
    with aside(path) as file:
        file.write(data)


def write_json(path: str, value: Any) -> None:
    """Put ``value`` as readable JSON at ``path``, whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())


def delete(path: str) -> None:
    """Delete the file or folder at ``path``; one that is missing is no error."""
    fs, inner = fsspec.core.url_to_fs(path)
    with contextlib.suppress(FileNotFoundError):
        fs.rm(inner, recursive=True)


def require_free(path: str, needed: int, purpose: str) -> None:
    """Raise :class:`OutOfSpace` where the disk of ``path`` lacks ``needed`` bytes."""
    if not is_local(path):
        return
    folder = path
    while not os.path.isdir(folder):
        folder = os.path.dirname(folder)
    free = shutil.disk_usage(folder).free
    if free < needed + FREE_RESERVE:
        raise OutOfSpace(
            f"{folder}: {purpose} needs about {needed / 2**20:,.0f} MiB "
            f"({FREE_RESERVE / 2**20:.0f} MiB more are kept in reserve), and "
            f"{free / 2**20:,.0f} MiB are free. Free some space, or give --lake "
            "another disk, and run the same command again."
        )
