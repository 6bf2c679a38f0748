"""Names of files: which ones count, and how those that are no text are kept."""

import os
import re

SYSTEM_NAMES = frozenset({"thumbs.db", "desktop.ini", "__macosx"})

_STRAY = re.compile("[\udc80-\udcff]")
_QUOTED = re.compile("%([89A-F][0-9A-F])")


def hidden(name: str) -> bool:
    """Return whether a file or folder of this name is the system's own business."""
    return name.startswith(".") or name.lower() in SYSTEM_NAMES


def counts(path: str) -> bool:
    """Return whether no part of ``path`` is hidden."""
    return not any(hidden(part) for part in path.split("/") if part)


def plain_name(path: str) -> str:
    """Return ``path`` with the bytes that are no text quoted, as ``%FF``."""
    if path.isascii():
        return path
    return _STRAY.sub(lambda found: f"%{ord(found[0]) - 0xDC00:02X}", path)


def real_name(path: str) -> str:
    """Return the name on disk of a path that :func:`plain_name` may have quoted."""
    if "%" not in path or os.path.lexists(path):
        return path
    return _QUOTED.sub(lambda found: chr(int(found[1], 16) + 0xDC00), path)
