"""Decode a JPEG: strictly, header first, and no larger than it is needed."""

import re
from typing import NamedTuple

import numpy as np
import simplejpeg

from pipelines.config import ImageSettings
from pipelines.media import exif, geometry
from pipelines.media.header import Refused, check_size

COMMON = re.compile(
    rb"\xff\xd8(?:\xff\xe0\x00\x10.{14}|\xff\xdb\x00\x43.{65}|\xff\xdb\x00\x84.{130})*"
    rb"\xff[\xc0-\xc2]\x00[\x0b\x11]\x08(....)(\x01|\x03)",
    re.S,
)
"""The layout nearly every encoder writes, up to the size: no EXIF, nothing odd.

Matching it costs a quarter of asking the decoder, which tells on 32-pixel images.
"""

SPACES = {1: "GRAY", 3: "RGB"}
"""What simplejpeg calls our numbers of channels."""

_ENDS_EARLY = re.compile(r"premature end", re.I)
_HARMLESS = re.compile(
    r"extraneous bytes before marker|inconsistent progression|unknown Adobe|"
    r"revision number|subsampling level",
    re.I,
)
_EXIF = 0xE1


class Decoded(NamedTuple):
    """A decoded picture, maybe at a reduced scale, upright still to be made.

    Attributes:
        pixels: uint8, of shape (height, width) or (height, width, 3), or with alpha 4.
        width: Width before scaling and turning.
        height: Height, likewise.
        orientation: As EXIF counts them, 1 to 8.
    """

    pixels: np.ndarray
    width: int
    height: int
    orientation: int


class Unfamiliar(Exception):
    """A JPEG that simplejpeg does not take, and Pillow may."""


def decode(data: bytes, spec: ImageSettings) -> Decoded:
    """Return the picture in ``data``.

    Raises:
        Refused: The picture is too large, too small, truncated or corrupt.
        Unfamiliar: Another decoder should try.
    """
    try:
        height, width, space, _ = simplejpeg.decode_jpeg_header(data, strict=False)
    except ValueError as error:
        raise Unfamiliar(str(error)) from error
    check_size(width, height, spec)
    segments = exif.jpeg_segments(data)
    turned = exif.orientation(segments.get(_EXIF, b""))
    least = _least(width, height, turned, spec)
    if space in ("CMYK", "YCCK"):
        inks = _pixels(data, "CMYK", least)
        return Decoded(_from_cmyk(inks), width, height, turned)
    return Decoded(_pixels(data, SPACES[spec.channels], least), width, height, turned)


def scalable(width: int, height: int, spec: ImageSettings) -> bool:
    """Return whether so large a picture is decoded at a reduced scale."""
    return spec.scaled_decode and width >= 2 * spec.width and height >= 2 * spec.height


def _least(
    width: int, height: int, turned: int, spec: ImageSettings
) -> tuple[int, int] | None:
    """Return the least (height, width) to decode to, ``None`` for the full size."""
    if not scalable(width, height, spec):
        return None
    if turned >= 5:
        return geometry.needed_size(height, width, spec)
    return geometry.needed_size(width, height, spec)[::-1]


def _pixels(data: bytes, space: str, least: tuple[int, int] | None) -> np.ndarray:
    try:
        if least is None:
            pixels = simplejpeg.decode_jpeg(data, space)
        else:  # factors under 2 cost more than they save
            pixels = simplejpeg.decode_jpeg(data, space, False, False, *least, 2)
    except ValueError as error:
        raise _verdict(str(error)) from error
    return pixels if space != "GRAY" else pixels[..., 0]


def _verdict(message: str) -> Exception:
    if _ENDS_EARLY.search(message):
        return Refused("truncated", message)
    if _HARMLESS.search(message):
        return Unfamiliar(message)
    return Refused("corrupt", message)


def _from_cmyk(inks: np.ndarray) -> np.ndarray:
    """Return RGB for CMYK, which is inverted in JPEGs: Adobe's habit, now all's."""
    light = inks.astype(np.uint16)
    return ((light[..., :3] * light[..., 3:] + 127) // 255).astype(np.uint8)
