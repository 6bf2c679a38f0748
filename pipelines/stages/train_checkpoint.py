"""The checkpoint of a training, in the lake: another machine takes it up from there.

On a disk it is written where it stays. In a bucket it is put after an epoch, whole, in
place of the one before.
"""

import logging
import os
import time

from pipelines.errors import LatentlakeError
from pipelines.lake import store

SHARE = 20
"""At most one part in so many of the time is spent on putting checkpoints."""
LEAST_S = 1.0
"""Tiny epochs share a checkpoint: it is put no more often than this."""

log = logging.getLogger(__name__)


class Kept:
    """What training leaves after each epoch, here and in the lake.

    Attributes:
        folder: Where it stays, in the lake.
        local: Where training writes it; the same place where the lake is on a disk.
        names: The files, the checkpoint itself last.
    """

    def __init__(self, folder: str, work: str, names: tuple[str, ...]) -> None:
        self.folder, self.names = folder, names
        self.local = folder if store.is_local(folder) else os.path.join(work, "fit")
        self._due = 0.0

    def take_up(self) -> None:
        """Bring here what an earlier, cut-off training left in the bucket."""
        if self.local == self.folder:
            return
        os.makedirs(self.local, exist_ok=True)
        for name in self.names:
            path = f"{self.folder}/{name}"
            if store.exists(path):
                with open(os.path.join(self.local, name), "wb") as file:
                    file.write(store.read_bytes(path))

    def put(self, *, now: bool = False) -> None:
        """Put the files in the bucket; but for ``now``, only where it is due.

        One that cannot be put is left for the next epoch: it costs an epoch if training
        is cut off meanwhile, and stopping here would cost more.
        """
        began = time.monotonic()
        if self.local == self.folder or (began < self._due and not now):
            return
        try:
            for name in self.names:
                with (
                    open(os.path.join(self.local, name), "rb") as whole,
                    store.aside(f"{self.folder}/{name}") as file,
                ):
                    file.write(whole.read())
        except (LatentlakeError, OSError) as error:
            if now:
                raise
            log.warning("train: the checkpoint could not be put in the lake: %s", error)
        ended = time.monotonic()
        self._due = ended + max(LEAST_S, SHARE * (ended - began))

    def drop(self, name: str) -> None:
        """Delete a file that is of no use any more, here and in the lake."""
        for folder in {self.folder, self.local}:
            store.delete(f"{folder}/{name}")
