"""The errors we raise on purpose, and the exit codes they end a stage with.

0 done, 1 accident (a retry helps), 2 settings, 3 refused by the gate, 4 bad night,
5 artefact does not match, 10 nothing to do.
"""

import errno
import os

DONE = 0
ACCIDENT = 1
NOTHING_TO_DO = 10


class LatentlakeError(Exception):
    """An error that says what, where, what was found, and what to do."""

    exit_code = ACCIDENT


class ConfigError(LatentlakeError):
    """A setting is wrong; retrying cannot help."""

    exit_code = 2


class AccessRefused(ConfigError):
    """The keys may not do what was asked of a bucket: it may be one object of many."""


class GateRefused(LatentlakeError):
    """No encoder may be used; nothing was published."""

    exit_code = 3


class BadNight(LatentlakeError):
    """The night as a whole cannot be trusted; nothing was published."""

    exit_code = 4


class ArtifactMismatch(LatentlakeError):
    """An artefact is not what its description says, or does not fit its neighbour."""

    exit_code = 5


class PublishHeld(LatentlakeError):
    """The tables were rolled back and are held there until they are released."""

    exit_code = 2


class LakeBusy(LatentlakeError):
    """Another run holds the dataset's lease, or moved its tables meanwhile."""


class Unreachable(LatentlakeError):
    """A server (of the bucket, of the catalog) is not reached, or was lost."""


class OutOfSpace(LatentlakeError):
    """The disk that holds the lake is full, or soon would be."""


_MEND = {
    errno.EACCES: "Look who owns it, and as whom latentlake runs",
    errno.EPERM: "Look who owns it, and as whom latentlake runs",
    errno.EROFS: "Mount it for writing, or give --lake another place",
    errno.ENOSPC: "Free some space, or give --lake another disk",
    errno.EDQUOT: "Free some space, or give --lake another disk",
    errno.EEXIST: "A folder is wanted there: take it away, or give another path",
    errno.ENOTDIR: "A folder is wanted there: take it away, or give another path",
    errno.EMFILE: "Raise the limit of open files (ulimit -n)",
}


def explain_system(error: Exception) -> str | None:
    """Return what the system refused and what to do, ``None`` if we cannot say."""
    if isinstance(error, ImportError):
        if error.name and error.name == os.environ.get("KERAS_BACKEND"):
            return (
                f"Keras is to compute with {error.name} (KERAS_BACKEND), which is not "
                "installed here. Name another backend, or install it; then run the "
                "same command again."
            )
        return f"a library is missing: {error}."
    if not isinstance(error, OSError) or (error.errno or 0) not in _MEND:
        return None
    where = f"{error.filename}: " if error.filename else ""
    mend = _MEND[error.errno or 0]
    return f"{where}{error.strerror}. {mend}; then run the same command again."
