"""From an upright picture to the canonical size: cut, resized, padded."""

import cv2
import numpy as np

from pipelines.config import ImageSettings

# The engine brings the parallelism: one thread for each image, chunk beside chunk.
cv2.setNumThreads(1)

BAND = 1 << 20
"""Pixels composed at a time, so that a large picture needs no large copies."""


def needed_size(width: int, height: int, spec: ImageSettings) -> tuple[int, int]:
    """Return the least (width, height) that loses nothing for the canonical image."""
    if spec.fit == "stretch":
        return spec.width, spec.height
    pick = max if spec.fit == "cover" else min
    scale = pick(spec.width / width, spec.height / height)
    return -int(-width * scale // 1), -int(-height * scale // 1)


def fit(pixels: np.ndarray, spec: ImageSettings) -> np.ndarray:
    """Return ``pixels`` at the canonical height and width.

    ``cover`` first cuts the middle that has the canonical proportions, ``contain``
    pads with the background on both sides, ``stretch`` takes no heed of proportions.
    """
    if pixels.shape[:2] == (spec.height, spec.width):
        return pixels
    height, width = pixels.shape[:2]
    if spec.fit == "cover" and height * spec.width != width * spec.height:
        pixels = _middle(pixels, spec)
    if spec.fit == "contain":
        return _padded(pixels, spec)
    return resize(pixels, spec.width, spec.height)


def resize(pixels: np.ndarray, width: int, height: int) -> np.ndarray:
    """Return ``pixels`` at another size: an axis that shrinks is averaged by area.

    An axis that grows is interpolated linearly, after the other has shrunk.
    """
    own_height, own_width = pixels.shape[:2]
    if width >= own_width and height >= own_height:
        return cv2.resize(pixels, (width, height))  # linear
    least = min(width, own_width), min(height, own_height)
    pixels = cv2.resize(pixels, least, interpolation=cv2.INTER_AREA)
    if least == (width, height):
        return pixels
    return cv2.resize(pixels, (width, height))


def _middle(pixels: np.ndarray, spec: ImageSettings) -> np.ndarray:
    height, width = pixels.shape[:2]
    keep_width = min(width, max(1, round(height * spec.width / spec.height)))
    keep_height = min(height, max(1, round(width * spec.height / spec.width)))
    left, top = (width - keep_width) // 2, (height - keep_height) // 2
    return pixels[top : top + keep_height, left : left + keep_width]


def _padded(pixels: np.ndarray, spec: ImageSettings) -> np.ndarray:
    height, width = pixels.shape[:2]
    scale = min(spec.width / width, spec.height / height)
    inner_width = min(spec.width, max(1, round(width * scale)))
    inner_height = min(spec.height, max(1, round(height * scale)))
    left, top = (spec.width - inner_width) // 2, (spec.height - inner_height) // 2
    shape = (spec.height, spec.width, *pixels.shape[2:])
    canvas = np.empty(shape, np.uint8)
    canvas[:] = background(spec) if pixels.ndim == 3 else background_grey(spec)
    inner = resize(pixels, inner_width, inner_height)
    canvas[top : top + inner_height, left : left + inner_width] = inner
    return canvas


def background(spec: ImageSettings) -> np.ndarray:
    """Return the background as three numbers, RGB."""
    return np.frombuffer(bytes.fromhex(spec.background[1:]), np.uint8)


def background_grey(spec: ImageSettings) -> int:
    """Return the background as one number."""
    return int(grey(background(spec).reshape(1, 1, 3))[0, 0])


def grey(pixels: np.ndarray) -> np.ndarray:
    """Return RGB pixels as luma by ITU-R 601, of shape (height, width)."""
    return cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)


def over(pixels: np.ndarray, backdrop: np.ndarray) -> np.ndarray:
    """Return RGBA pixels laid over one colour, as RGB, rounded to the nearest."""
    height, width = pixels.shape[:2]
    flat = np.empty((height, width, 3), np.uint8)
    rows = max(1, BAND // max(1, width))
    for top in range(0, height, rows):
        band = pixels[top : top + rows].astype(np.uint32)
        alpha = band[..., 3:]
        mixed = band[..., :3] * alpha + backdrop.astype(np.uint32) * (255 - alpha)
        flat[top : top + rows] = (mixed + 127) // 255
    return flat
