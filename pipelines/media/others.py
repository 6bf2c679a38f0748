"""Decode what is not a plain JPEG: PNM by hand, the rest through Pillow.

OpenCV is two to four times faster on small PNGs and on WebP, but its PNG reader
(5.0.0) ends the process on some hostile files; a decoder that can kill a worker is not
given bytes from outside.
"""

import contextlib
import io
import re
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import (
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    PngImagePlugin,
    PpmImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from pipelines.config import ImageSettings
from pipelines.media import exif
from pipelines.media.header import Refused, check_size
from pipelines.media.jpeg import Decoded

_READERS: dict[str, Callable[..., Any]] = {
    "bmp": BmpImagePlugin.BmpImageFile,
    "gif": GifImagePlugin.GifImageFile,
    "jpeg": JpegImagePlugin.JpegImageFile,
    "png": PngImagePlugin.PngImageFile,
    "pnm": PpmImagePlugin.PpmImageFile,
    "tiff": TiffImagePlugin.TiffImageFile,
    "webp": WebPImagePlugin.WebPImageFile,
}
_PLAIN_PNM = re.compile(rb"P([56])\s(\d{1,9})\s(\d{1,9})\s255\s")
_ENDS_EARLY = re.compile(r"truncated|not enough image data|unexpected end|EOF", re.I)


def decode(data: bytes, name: str, spec: ImageSettings) -> Decoded:
    """Return the first frame in ``data``, which is in the format ``name``.

    Raises:
        Refused: The picture is too large, too small, truncated, corrupt or of a kind
            of its format that has no stated meaning as grey or RGB.
    """
    plain = _PLAIN_PNM.match(data)
    if plain:
        return _plain_pnm(data, plain, spec)
    if name in ("png", "gif", "webp"):
        width, height = _size(data, name)
        check_size(width, height, spec)
    try:
        image = _READERS[name](io.BytesIO(data))
        width, height = image.size
        check_size(width, height, spec)
        image.load()
    except Exception as error:  # Pillow raises eight kinds of them on hostile files
        if isinstance(error, Refused):
            raise
        raise _verdict(error) from error
    width, height = image.size
    return Decoded(_pixels(image, name), width, height, _orientation(image, name))


def _plain_pnm(data: bytes, plain: re.Match[bytes], spec: ImageSettings) -> Decoded:
    width, height = int(plain[2]), int(plain[3])
    check_size(width, height, spec)
    shape = (height, width) if plain[1] == b"5" else (height, width, 3)
    missing = plain.end() + int(np.prod(shape)) - len(data)
    if missing > 0:
        raise Refused("truncated", f"{missing} bytes of pixels are missing")
    pixels = np.frombuffer(data, np.uint8, int(np.prod(shape)), plain.end())
    return Decoded(pixels.reshape(shape), width, height, 1)


def _size(data: bytes, name: str) -> tuple[int, int]:
    """Return the (width, height) that a header promises, before a decoder is made."""
    if name == "png":
        if len(data) < 33:
            raise Refused("truncated", f"{len(data)} bytes end within the header")
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if name == "gif":
        if len(data) < 13:
            raise Refused("truncated", f"{len(data)} bytes end within the header")
        return int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    return _webp_size(data)


def _webp_size(data: bytes) -> tuple[int, int]:
    promised = int.from_bytes(data[4:8], "little") + 8
    if len(data) < 30 or len(data) < promised:
        raise Refused("truncated", f"{len(data)} bytes, the header says {promised}")
    kind = data[12:16]
    if kind == b"VP8X":
        sides = data[24:27], data[27:30]
        return int.from_bytes(sides[0], "little") + 1, (
            int.from_bytes(sides[1], "little") + 1
        )
    if kind == b"VP8L":
        bits = int.from_bytes(data[21:25], "little")
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        sides = data[26:28], data[28:30]
        return int.from_bytes(sides[0], "little") & 0x3FFF, (
            int.from_bytes(sides[1], "little") & 0x3FFF
        )
    raise Refused("corrupt", f"WebP without a picture: first part {kind!r}")


def _verdict(error: Exception) -> Refused:
    message = f"{type(error).__name__}: {error}"
    early = isinstance(error, EOFError) or _ENDS_EARLY.search(message)
    if isinstance(error, Image.DecompressionBombError):
        return Refused("too_many_pixels", message)
    return Refused("truncated" if early else "corrupt", message)


def _orientation(image: Any, name: str) -> int:
    """Return the orientation still to be undone; Pillow has turned TIFF already."""
    if name == "tiff":
        return 1
    with contextlib.suppress(TypeError):
        return exif.orientation(bytes(image.info.get("exif", b"")))
    return 1


def _pixels(image: Any, name: str) -> np.ndarray:
    if image.mode.startswith("I;16") or (image.mode == "I" and name == "pnm"):
        return _from_16_bits(image)
    if image.mode in ("I", "F"):
        raise Refused(
            "unsupported_format", f"{name} of 32-bit samples, whose range nothing says"
        )
    if image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode not in ("L", "RGB"):
        image = _opaque(image, name)
    shape = (image.height, image.width, len(image.getbands()))
    pixels = np.frombuffer(image.tobytes(), np.uint8).reshape(shape)
    return pixels if shape[2] > 1 else pixels[..., 0]


def _opaque(image: Any, name: str) -> Any:
    try:
        return image.convert("L" if image.mode == "1" else "RGB")
    except ValueError as error:
        raise Refused(
            "unsupported_format", f"{name} in the colour mode {image.mode}"
        ) from error


def _from_16_bits(image: Any) -> np.ndarray:
    """Return the high byte of each sample: 65535 becomes 255, as libpng does it."""
    samples = np.asarray(image)
    high = (samples >> 8).astype(np.uint8)
    clear = image.info.get("transparency")
    if not isinstance(clear, int):
        return high
    alpha = np.where(samples == clear, 0, 255).astype(np.uint8)
    return np.stack([high, high, high, alpha], axis=-1)
