"""JPEG of the same images: real files, and how much of each is not the picture."""

import io

import numpy as np
from PIL import Image

from quality.rate import Point, fidelity

QUALITIES = (1, 3, 5, 10, 20, 30, 40, 50, 60, 70, 75, 80, 85, 90, 95)
_SCAN = 0xDA


def curve(pixels: np.ndarray) -> list[Point]:
    """Return what JPEG makes of uint8 ``pixels``, (n, h, w, c), at each quality.

    ``bytes`` are whole files with Huffman tables made for each; ``payload`` is the
    scan of a file with the standard's tables, which a corpus could keep once.
    """
    images = pixels / np.float32(255)
    points = []
    for quality in QUALITIES:
        files = [written(one, quality, optimize=True) for one in pixels]
        plain = [written(one, quality, optimize=False) for one in pixels]
        smaller = [min(len(a), len(b)) for a, b in zip(files, plain, strict=True)]
        painted = np.stack([read(file) for file in files]).reshape(pixels.shape)
        points.append(
            Point(
                quality,
                float(np.mean(smaller)),
                float(np.mean([scan_bytes(file) for file in plain])),
                *fidelity(images, painted / np.float32(255)),
            )
        )
    return points


def written(pixels: np.ndarray, quality: int, *, optimize: bool) -> bytes:
    """Return one image, uint8 (h, w, c), as a JPEG file."""
    file = io.BytesIO()
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    image.save(file, "JPEG", quality=quality, optimize=optimize)
    return file.getvalue()


def read(file: bytes) -> np.ndarray:
    """Return the pixels of a JPEG file."""
    return np.asarray(Image.open(io.BytesIO(file)))


def scan_bytes(file: bytes) -> int:
    """Return how many bytes of a JPEG file are the picture: its scan alone."""
    place = 2
    while file[place + 1] != _SCAN:
        place += 2 + int.from_bytes(file[place + 2 : place + 4])
    place += 2 + int.from_bytes(file[place + 2 : place + 4])
    return len(file) - place - 2  # the last two end the file


def png_bytes(pixels: np.ndarray) -> float:
    """Return the mean size of ``pixels`` as PNG files: what no loss at all costs."""
    sizes = []
    for one in pixels:
        file = io.BytesIO()
        shown = one[..., 0] if one.shape[-1] == 1 else one
        Image.fromarray(shown).save(file, "PNG", optimize=True)
        sizes.append(len(file.getvalue()))
    return float(np.mean(sizes))
