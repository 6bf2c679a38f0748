"""Rate and distortion: what a latent costs in bytes, and what the bytes are worth.

Every latent is treated alike. Each number is divided by a step of its own and rounded;
the steps are one step for all, over the root of how much the decoded picture changes
with the number, so that each costs the picture the same: for PCA that is reverse
water-filling, the best a linear code can do. A number that the picture does not depend
on is not sent. The size is what an ideal entropy coder needs that knows how often each
value occurs among training images, and what LZMA really makes of the whole set.
"""

import lzma
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from models import metrics

if TYPE_CHECKING:  # a page is written without Keras
    from quality.coders import Coder

STEPS = tuple(round(2.0 * 0.62**place, 4) for place in range(12))
"""Of the numbers, as shares of the spread of the one that moves the picture most."""
PROBED = 64
"""Images that tell how much a number moves the picture."""
JUDGED = 2000
"""Test images that each point is measured on."""
SILENT = 1e-6
"""Numbers that move the picture less than this share of the first are not sent."""
MOST = 32_000
_LZMA = [{"id": lzma.FILTER_LZMA2, "preset": 9 | lzma.PRESET_EXTREME, "lc": 0, "pb": 0}]


class Steps(NamedTuple):
    """How latents are rounded.

    Attributes:
        sent: Which numbers are sent, (sent,).
        centre: What a number is taken to be where it is not sent, (d,).
        size: The step of each number that is sent, (sent,), before the common factor.
    """

    sent: np.ndarray
    centre: np.ndarray
    size: np.ndarray

    def rounded(self, latents: np.ndarray, step: float) -> np.ndarray:
        """Return ``latents``, (n, d), as whole numbers, (n, sent)."""
        values = (latents - self.centre)[:, self.sent] / (step * self.size)
        return np.clip(np.rint(values), -MOST, MOST).astype(np.int16)

    def restored(self, numbers: np.ndarray, step: float) -> np.ndarray:
        """Return the latents, (n, d), that whole ``numbers`` stand for."""
        latents = np.tile(self.centre, (len(numbers), 1))
        latents[:, self.sent] += numbers * (step * self.size)
        return latents


class Point(NamedTuple):
    """One point of a curve.

    Attributes:
        setting: The step, or JPEG's quality.
        bytes: An image's mean share of what is stored.
        payload: An ideal coder's bytes; for JPEG, the file without headers and tables.
        psnr: Mean over images, in dB.
        ssim: Mean over images.
    """

    setting: float
    bytes: float
    payload: float
    psnr: float
    ssim: float


def curve(
    coder: "Coder", learned: np.ndarray, latents: np.ndarray, pixels: np.ndarray
) -> list[Point]:
    """Return what ``coder`` makes of images at each step, the coarsest first.

    Args:
        coder: Decodes.
        learned: Latents of training images, (n, d).
        latents: Latents of the images that are judged, (m, d).
        pixels: Those images, uint8, (m, h, w, c).
    """
    steps = find_steps(coder, learned)
    images = pixels / np.float32(255)
    points = []
    for step in STEPS:
        known, numbers = (steps.rounded(one, step) for one in (learned, latents))
        low, high = known.min(axis=0), known.max(axis=0)
        numbers = np.clip(numbers, low, high)  # the ideal coder knows no other values
        painted = coder.decode(steps.restored(numbers, step))
        points.append(
            Point(
                step,
                packed(numbers) / len(numbers),
                ideal(known, numbers) / len(numbers),
                *fidelity(images, painted),
            )
        )
    return points


def find_steps(coder: "Coder", learned: np.ndarray) -> Steps:
    """Return how the latents of ``coder`` are rounded, by those of training images."""
    centre, spread = learned.mean(axis=0), learned.std(axis=0)
    moved = np.empty(len(spread))
    some = learned[:PROBED]
    before = coder.decode(some)
    for number in range(len(moved)):
        other = some.copy()
        other[:, number] += spread[number]
        moved[number] = np.square(coder.decode(other) - before).mean()
    sent = np.flatnonzero(moved > SILENT * moved.max())
    size = spread[sent] * np.sqrt(moved.max() / moved[sent])
    return Steps(sent, centre, size.astype(np.float32))


def ideal(known: np.ndarray, numbers: np.ndarray) -> float:
    """Return the bytes of ``numbers`` by an ideal coder that counted ``known``.

    Each column is a source of its own; a value never counted is given half a count.
    """
    bits = 0.0
    for seen, sent in zip(known.T.astype(int), numbers.T.astype(int), strict=True):
        counts = np.bincount(seen - seen.min()) + 0.5
        bits -= np.log2(counts[sent - seen.min()] / counts.sum()).sum()
    return bits / 8.0


def packed(numbers: np.ndarray) -> int:
    """Return the bytes that LZMA makes of ``numbers``, column by column."""
    fits = np.abs(numbers).max(initial=0) <= np.iinfo(np.int8).max
    columns = np.ascontiguousarray(numbers.T.astype(np.int8 if fits else np.int16))
    data = columns.tobytes() if fits else _planes(columns)
    return len(lzma.compress(data, lzma.FORMAT_RAW, filters=_LZMA))


def fidelity(images: np.ndarray, painted: np.ndarray) -> tuple[float, float]:
    """Return mean PSNR and SSIM of ``painted``, both in [0, 1], (n, h, w, c)."""
    errors = metrics.squared_error(images, painted)
    likeness = [
        metrics.ssim(images[at : at + 500], painted[at : at + 500])
        for at in range(0, len(images), 500)
    ]
    return float(metrics.psnr(errors).mean()), float(np.concatenate(likeness).mean())


def _planes(columns: np.ndarray) -> bytes:
    """Return the low bytes, then the high ones: alike bytes side by side."""
    pairs = columns.view(np.uint8).reshape(-1, 2)
    return pairs[:, 0].tobytes() + pairs[:, 1].tobytes()
