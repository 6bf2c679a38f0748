"""Screen one image and make it canonical: upright, RGB or grey, one size, uint8.

The rules, in their order:

1. Refused before decoding: no bytes, more than ``max_bytes``, no image signature, a
   format we do not read, more than ``max_pixels`` or a side under ``min_side`` by the
   header.
2. The first frame is decoded; of 16-bit samples the high byte counts; colour profiles
   are not applied (the numbers are taken as sRGB).
3. Turned upright by EXIF, laid over ``background`` where it is transparent, made grey
   by ITU-R 601 where ``channels`` is 1.
4. Brought to ``height`` × ``width`` by ``fit``; an axis that shrinks is averaged by
   area, one that grows is interpolated linearly.
"""

import struct
from typing import NamedTuple

import cv2
import numpy as np
import simplejpeg

from pipelines.config import ImageSettings
from pipelines.media import geometry, jpeg, others
from pipelines.media.exif import upright
from pipelines.media.header import Refused, supported_format
from pipelines.records import Rejection

DETAIL_LENGTH = 200
"""Characters of a decoder's message that are kept."""

_SIDES = struct.Struct(">HH")


class Canonical(NamedTuple):
    """One image as every later stage sees it.

    Attributes:
        pixels: uint8, of shape (height, width, channels).
        width: Columns of the original, upright.
        height: Rows of the original, upright.
        format: The original's format.
    """

    pixels: np.ndarray
    width: int
    height: int
    format: str


def canonicalise(data: bytes, spec: ImageSettings) -> Canonical | Rejection:
    """Return the image in ``data`` as ``spec`` wants it, or why it is left out.

    Never raises, whatever the bytes: what a decoder says of them is the rejection's
    detail.
    """
    try:
        quick = _plain_jpeg(data, spec)
        if quick is not None:
            return quick
        name = supported_format(data, spec)
        return _finish(_decode(data, name, spec), name, spec)
    except Refused as refused:
        return Rejection(refused.reason, _clean(refused.detail))
    except Exception as error:  # the last net: bytes from outside never stop a night
        return Rejection("corrupt", _clean(f"{type(error).__name__}: {error}"))


def _plain_jpeg(data: bytes, spec: ImageSettings) -> Canonical | None:
    """Return the commonest image the short way; ``None`` sends it the long way.

    A JPEG of the plainest layout, upright, sound and not to be scaled: for pictures of
    32 pixels the long way's checks cost a third of the decoding.
    """
    common = jpeg.COMMON.match(data)
    if common is None or len(data) > spec.max_bytes:
        return None
    height, width = _SIDES.unpack(common[1])
    least = height if height < width else width
    if least < spec.min_side or height * width > spec.max_pixels:
        return None
    if least >= 2 * spec.height and jpeg.scalable(width, height, spec):
        return None
    try:
        pixels = simplejpeg.decode_jpeg(data, jpeg.SPACES[spec.channels])
    except ValueError:
        return None
    if height != spec.height or width != spec.width:
        pixels = _shaped(pixels, spec)
    return Canonical(pixels, width, height, "jpeg")


def _decode(data: bytes, name: str, spec: ImageSettings) -> jpeg.Decoded:
    if name != "jpeg":
        return others.decode(data, name, spec)
    try:
        return jpeg.decode(data, spec)
    except jpeg.Unfamiliar:
        return others.decode(data, name, spec)


def _finish(decoded: jpeg.Decoded, name: str, spec: ImageSettings) -> Canonical:
    pixels, width, height, orientation = decoded
    if orientation != 1:
        pixels = upright(pixels, orientation)
        if orientation >= 5:
            width, height = height, width
    if pixels.shape != (spec.height, spec.width, spec.channels):
        pixels = _shaped(pixels, spec)
    return Canonical(np.ascontiguousarray(pixels), width, height, name)


def _shaped(pixels: np.ndarray, spec: ImageSettings) -> np.ndarray:
    """Return ``pixels`` (grey, RGB or RGBA) with the canonical shape."""
    if pixels.shape[2:] == (1,):
        pixels = pixels[..., 0]
    if pixels.shape[2:] == (4,):
        pixels = geometry.over(pixels, geometry.background(spec))
    if pixels.shape[2:] == (3,) and spec.channels == 1:
        pixels = geometry.grey(pixels)
    if pixels.ndim == 2 and spec.fit == "contain" and spec.channels == 3:
        pixels = _three(pixels)
    pixels = geometry.fit(pixels, spec)
    if pixels.ndim == 2:
        return pixels[..., None] if spec.channels == 1 else _three(pixels)
    return pixels


def _three(grey: np.ndarray) -> np.ndarray:
    return cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB)


def _clean(detail: str) -> str:
    """Return ``detail`` on one line, printable and short."""
    line = " ".join(detail.split())
    return "".join(c if c.isprintable() else "?" for c in line)[:DETAIL_LENGTH]
