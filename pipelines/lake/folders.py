"""Folders of the lake that are made elsewhere: fetched whole, put in place whole."""

import contextlib
import os
import pathlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator

from pipelines.lake import bucket, store


def fetch(folder: str, local: str) -> None:
    """Copy what lies in ``folder`` of the lake to the new folder ``local``."""
    if store.is_local(folder):
        shutil.copytree(folder, local)
        return
    bucket.fetch_folder(folder, local)


@contextlib.contextmanager
def at_hand(folder: str) -> Iterator[str]:
    """Yield ``folder`` of the lake as a folder of this disk, for the block's time.

    A local one is itself; of one in a bucket, a copy is fetched and taken away again.
    Libraries that open no bucket (TensorFlow, Keras) read it there. It must stand.
    """
    if store.is_local(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="latentlake-") as work:
        local = os.path.join(work, "copy")
        fetch(folder, local)
        yield local


def place(local: str, folder: str, last: str) -> None:
    """Put the folder ``local`` at ``folder`` in the lake, unless one stands there.

    It stands when its file ``last`` does: on a disk the folder is copied aside and
    renamed, in a bucket that file is written last.
    """
    if store.exists(f"{folder}/{last}"):
        return
    if store.is_local(folder):
        _place_on_disk(local, folder, last)
        return
    for name in sorted(files(local), key=lambda name: (name == last, name)):
        bucket.put(os.path.join(local, name), f"{folder}/{name}")


def _place_on_disk(local: str, folder: str, last: str) -> None:
    parent, name = os.path.split(folder)
    hidden = os.path.join(parent, f".{name}.{uuid.uuid4().hex}")
    shutil.copytree(local, hidden)
    try:
        store.delete(folder)  # a part of one, left by another hand
        os.rename(hidden, folder)
    except OSError:
        if not store.exists(f"{folder}/{last}"):  # no other run was faster
            raise
    finally:
        with contextlib.suppress(FileNotFoundError):
            shutil.rmtree(hidden)


def files(local: str) -> list[str]:
    """Return the paths of all files below the folder ``local``, relative, sorted."""
    root = pathlib.Path(local)
    found = (path for path in root.rglob("*") if path.is_file())
    return sorted(path.relative_to(root).as_posix() for path in found)
