"""Small pictures as data URIs, so that a page needs nothing beside itself."""

import base64
from collections.abc import Sequence

import cv2
import numpy as np

LOSSLESS_SIDE = 48
"""Pictures up to this size are kept exact; larger ones are compressed."""
SHOWN_SIDE = 128
"""Longest side of an image that is shown beside its reconstruction."""


def data_uri(pixels: np.ndarray, quality: int = 85) -> str:
    """Return ``uint8`` pixels ``(h, w, c)`` as a data URI, PNG or WebP by size."""
    exact = pixels.shape[2] == 1 or max(pixels.shape[:2]) <= LOSSLESS_SIDE
    return _encoded(pixels, "png" if exact else "webp", quality)


def small_uri(pixels: np.ndarray) -> str:
    """Return a thumbnail as a data URI, as small as it can be."""
    return _encoded(pixels, "png" if pixels.shape[2] == 1 else "webp", 75)


def stacked_uri(pictures: Sequence[np.ndarray]) -> str:
    """Return pictures of one shape as one data URI, one above the other."""
    return data_uri(np.concatenate([fitted(each, SHOWN_SIDE) for each in pictures]))


def fitted(pixels: np.ndarray, side: int) -> np.ndarray:
    """Return ``pixels`` no larger than ``side`` on their longest side."""
    scale = side / max(pixels.shape[:2])
    if scale >= 1.0:
        return pixels
    size = [max(1, round(each * scale)) for each in pixels.shape[1::-1]]
    small = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return small.reshape(*small.shape[:2], pixels.shape[2])


def sheet(tiles: np.ndarray, columns: int) -> np.ndarray:
    """Return ``tiles`` ``(n, h, w, c)`` as one picture of rows of ``columns``."""
    count, height, width, channels = tiles.shape
    rows = -(-count // columns)
    whole = np.zeros((rows * columns, height, width, channels), np.uint8)
    whole[:count] = tiles
    grid = whole.reshape(rows, columns, height, width, channels).swapaxes(1, 2)
    return grid.reshape(rows * height, columns * width, channels)


def _encoded(pixels: np.ndarray, kind: str, quality: int) -> str:
    options = [cv2.IMWRITE_WEBP_QUALITY, quality] if kind == "webp" else []
    flipped = pixels[:, :, ::-1] if pixels.shape[2] == 3 else pixels  # cv2 wants BGR
    _, data = cv2.imencode(f".{kind}", np.ascontiguousarray(flipped), options)
    return f"data:image/{kind};base64,{base64.b64encode(data.tobytes()).decode()}"
