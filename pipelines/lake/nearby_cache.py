"""A cache of files on this machine: by content, bounded, shared by processes.

What any living process uses stays. A process says what it uses in a folder of its own,
whose lock it holds as long as it lives; what is on its way to the cache lies there,
too, and goes with it.
"""

import contextlib
import hashlib
import json
import os
import pathlib
import shutil
import uuid
from collections.abc import Iterator

import filelock

from pipelines.errors import ConfigError, LatentlakeError
from pipelines.lake import store

DEFAULT_GB = 100.0


class InUse(LatentlakeError):
    """Other processes use what would have to make room; they will end."""


class Cache:
    """The cache in a folder.

    Attributes:
        folder: Where it is.
        bound: The bytes it may hold.
    """

    def __init__(self, folder: str, bound: int) -> None:
        self.folder = pathlib.Path(folder).absolute()
        self.bound = bound
        self._files = self.folder / "files"
        self._users = self.folder / "users"
        for part in (self._files, self._users):
            part.mkdir(parents=True, exist_ok=True)
        self._lock = filelock.FileLock(self.folder / "lock")

    @classmethod
    def of_environment(cls) -> "Cache":
        """Return the cache that ``LATENTLAKE_CACHE`` and ``_CACHE_GB`` describe."""
        home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
        folder = os.environ.get("LATENTLAKE_CACHE") or f"{home}/latentlake/examples"
        given = os.environ.get("LATENTLAKE_CACHE_GB") or DEFAULT_GB
        try:
            gigabytes = float(given)
        except ValueError:
            gigabytes = 0.0
        if not 0 < gigabytes < float("inf"):
            raise ConfigError(
                f"LATENTLAKE_CACHE_GB: found {given!r}; use a number above 0, in "
                "gigabytes, like 200."
            )
        return cls(folder, int(gigabytes * 1e9))

    def place(self, sha256: str) -> pathlib.Path:
        """Return where the file of this digest lies, or will."""
        return self._files / sha256[:2] / f"{sha256}.tfrecord"

    @contextlib.contextmanager
    def using(self, wanted: dict[str, int]) -> Iterator[pathlib.Path]:
        """Keep ``wanted`` (digests and sizes) here, and make room for what lacks.

        Yields a folder on the same disk for what is on its way.
        """
        mine = self._users / uuid.uuid4().hex
        alive = filelock.FileLock(mine / "alive")
        with self._lock:
            others = self._others()
            self._make_room(wanted, others)
            mine.mkdir()
            alive.acquire()
            (mine / "uses.json").write_text(json.dumps(wanted))
        try:
            yield mine
        finally:
            alive.release()
            shutil.rmtree(mine, ignore_errors=True)

    def _make_room(self, wanted: dict[str, int], others: dict[str, int]) -> None:
        """Remove what was not used for longest, until ``wanted`` fits; or refuse."""
        needed, held = sum(wanted.values()), sum((others | wanted).values())
        if needed > self.bound:
            raise ConfigError(
                f"{self.folder}: the training examples are {needed / 1e9:.3f} GB, and "
                f"the cache may hold {self.bound / 1e9:.3f} GB. Set "
                f"LATENTLAKE_CACHE_GB to {_enough(needed)} or more, or lower "
                "transform.max_train_images."
            )
        if held > self.bound:
            raise InUse(
                f"{self.folder}: these training examples and those that other "
                f"processes are using are {held / 1e9:.3f} GB together, and the cache "
                f"may hold {self.bound / 1e9:.3f} GB. Wait for the others, or set "
                f"LATENTLAKE_CACHE_GB to {_enough(held)} or more."
            )
        standing = self._standing()
        free = {
            name: state
            for name, state in standing.items()
            if name not in wanted and name not in others
        }
        room = self.bound - held - sum(size for _, size in free.values())
        for name, (_, size) in sorted(free.items(), key=lambda one: one[1][0]):
            if room >= 0:
                break
            self.place(name).unlink()
            room += size
        lacking = sum(size for name, size in wanted.items() if name not in standing)
        store.require_free(str(self.folder), lacking, "a copy of the examples")

    def _standing(self) -> dict[str, tuple[float, int]]:
        """Return when each file was last used, and its size, by digest."""
        found = {}
        for path in self._files.glob("*/*.tfrecord"):
            state = path.stat()
            found[path.stem] = (state.st_mtime, state.st_size)
        return found

    def _others(self) -> dict[str, int]:
        """Return what living processes use, by digest; clear up after dead ones."""
        used: dict[str, int] = {}
        for folder in self._users.iterdir():
            if _is_alive(folder):
                used |= json.loads((folder / "uses.json").read_text())
            else:
                shutil.rmtree(folder, ignore_errors=True)
        return used


def _is_alive(user: pathlib.Path) -> bool:
    try:
        with filelock.FileLock(user / "alive", timeout=0):
            return False
    except filelock.Timeout:
        return True


def sha256_of(path: pathlib.Path) -> str:
    """Return the SHA-256 of the file at ``path``, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _enough(size: int) -> str:
    """Return ``size`` in gigabytes, never rounded down."""
    return f"{size / 1e9 + 0.0005:.3f}"
