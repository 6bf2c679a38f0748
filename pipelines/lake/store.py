"""Files of the lake, local or in a bucket: read whole, written aside, put in place.

What a bucket refuses is raised as an error of ours, here: as such it survives the way
out of a Beam worker.
"""

import contextlib
import errno
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from typing import IO, Any

from pipelines.errors import ArtifactMismatch, OutOfSpace
from pipelines.lake import bucket

BUFFER_BYTES = 2**20
"""What a file gathers before it is written: records come in kilobytes."""
FREE_RESERVE = 256 * 2**20
"""Bytes of disk that a stage leaves alone."""


def is_local(path: str) -> bool:
    """Return whether ``path`` is on this machine's disk."""
    return "://" not in path


def exists(path: str) -> bool:
    """Return whether there is a file at ``path``; on a disk, or a folder.

    A bucket knows no folders: one stands where the file does that is written last.
    """
    if is_local(path):
        return os.path.exists(path)
    return bucket.size(path) is not None


def read_bytes(path: str) -> bytes:
    """Return the whole content of the file at ``path``."""
    if not is_local(path):
        return bucket.read(path)
    with open(path, "rb") as file:
        return file.read()


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
    found = bucket.size(path)
    if found is None:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return found


def names(folder: str) -> list[str]:
    """Return the names of what lies in ``folder``, sorted; none where it is missing."""
    if not is_local(folder):
        found = bucket.names(folder)
    else:
        found = os.listdir(folder) if os.path.isdir(folder) else []
    return sorted(name for name in found if name and not name.startswith("."))


def fetch_file(path: str, local: str) -> None:
    """Copy the file at ``path`` of the lake to ``local`` on this disk."""
    if is_local(path):
        shutil.copyfile(path, local)
        return
    with _room_for_copies():
        bucket.fetch(path, local)


@contextlib.contextmanager
def aside(path: str) -> Iterator[IO[bytes]]:
    """Yield a file to write; it stands at ``path`` whole, or not at all.

    On a disk: a hidden neighbour, flushed to the disk and renamed. In a bucket: one
    upload of the finished file, which lies in the folder of temporary files until then
    (one that is written there is completed by its closing, even where an error closes
    it).

    Raises:
        OutOfSpace: The disk is full.
    """
    if not is_local(path):
        with _room_for_copies(), _temporary() as whole:
            yield whole.file
            whole.flush()
            bucket.put(whole.name, path)
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


def _temporary() -> Any:
    return tempfile.NamedTemporaryFile(prefix="latentlake-", buffering=BUFFER_BYTES)


@contextlib.contextmanager
def _room_for_copies() -> Iterator[None]:
    """Name the folder of temporary files where that is what is full."""
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise OutOfSpace(
            f"{tempfile.gettempdir()}: the disk is full ({error.strerror}); files of a "
            "bucket pass through it. Free some space, or set TMPDIR to a folder of "
            "another disk, and run the same command again."
        ) from error


def write_bytes(path: str, data: bytes) -> None:
    """Put ``data`` at ``path``, whole or not at all."""
    if not is_local(path):
        bucket.write(path, data)
        return
    with aside(path) as file:
        file.write(data)


def write_json(path: str, value: Any) -> None:
    """Put ``value`` as readable JSON at ``path``, whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=1, sort_keys=True) + "\n").encode())


def delete(path: str) -> None:
    """Delete the file or folder at ``path``; one that is missing is no error."""
    if not is_local(path):
        bucket.delete(path)
    elif os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path)
    else:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)


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
