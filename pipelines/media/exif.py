"""Which way up a picture is: the orientation in its EXIF block, and how to undo it."""

import struct

import numpy as np

EXIF_START = b"Exif\x00\x00"
_ORIENTATION = 0x0112
_SHORT = 3


def orientation(exif: bytes) -> int:
    """Return the orientation (1 to 8) that an EXIF block states; 1 where it does not.

    A block that makes no sense says nothing about the picture beside it.
    """
    block = exif.removeprefix(EXIF_START)
    order = {b"II": "<", b"MM": ">"}.get(bytes(block[:2]))
    if order is None:
        return 1
    try:
        return _from_directory(block, order)
    except struct.error:
        return 1


def _from_directory(block: bytes, order: str) -> int:
    (start,) = struct.unpack_from(f"{order}I", block, 4)
    (entries,) = struct.unpack_from(f"{order}H", block, start)
    for at in range(start + 2, start + 2 + 12 * entries, 12):
        tag, kind, _, value = struct.unpack_from(f"{order}HHIH", block, at)
        if tag == _ORIENTATION:
            return value if kind == _SHORT and 1 <= value <= 8 else 1
    return 1


def jpeg_segments(data: bytes) -> dict[int, bytes]:
    """Return the first segment of each marker before a JPEG's scan, by marker."""
    found: dict[int, bytes] = {}
    at = 2
    while at + 4 <= len(data) and data[at] == 0xFF:
        marker = data[at + 1]
        if marker == 0xFF:  # fill bytes may stand before a marker
            at += 1
            continue
        if marker in (0xD9, 0xDA):
            break
        length = int.from_bytes(data[at + 2 : at + 4], "big")
        body = data[at + 4 : at + 2 + length]
        if marker != 0xE1 or body.startswith(EXIF_START):
            found.setdefault(marker, body)
        at += 2 + max(length, 2)
    return found


def upright(pixels: np.ndarray, orientation: int) -> np.ndarray:
    """Return a view of ``pixels`` turned the right way up."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return pixels
