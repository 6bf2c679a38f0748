"""Statistics that are sums over images: each can be added up in parts, in any order.

A :class:`Statistic` says what one batch adds; totals of parts add up to the total of
all. Every term is rounded to a grid so fine that the additions are exact, so that the
total, and what is solved from it, is the same to the last bit whoever adds in whatever
order: threads, Beam workers, a run that was cut off.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from models.data import Examples

Terms = tuple[NDArray[np.float64], ...]
BATCH = 256
"""Images that a statistic is given at once."""
_MANTISSA = 53
_HEADROOM = 20
"""The mean term of an image may reach 2 to this power before a total is inexact."""


class Statistic(Protocol):
    """What a batch of images adds to a total. It is pickled, and sent to workers."""

    def terms(self, images: np.ndarray) -> Terms:
        """Return the sums over ``images``, float32, (n, height, width, channels)."""


Summed = Callable[[Statistic, Examples, int | None], Terms]
"""A statistic, the examples, and how many of them at most (all: ``None``) → total."""


def over_examples(
    statistic: Statistic, examples: Examples, most: int | None = None
) -> Terms:
    """Return the total of ``statistic`` over examples, read in this process."""
    rows = chosen(examples, most)
    return total(of_rows(statistic, examples, rows), len(rows))


def chosen(examples: Examples, most: int | None) -> np.ndarray:
    """Return the numbers of the examples that are added up, rising."""
    count = min(len(examples), most or len(examples))
    # A cap takes images from all over the corpus: its first files may be alike.
    return np.sort(examples.order(0, 0)[:count])


def of_rows(
    statistic: Statistic, examples: Examples, rows: np.ndarray
) -> Iterator[Terms]:
    """Yield the terms of each batch of ``rows``; none is of more than one file."""
    for batch in examples.file_batches(BATCH, rows):
        yield statistic.terms(batch.images)


def total(parts: Iterable[Terms], count: int) -> Terms:
    """Return the sum of ``parts``, which are of ``count`` images in all, exactly.

    Raises:
        ValueError: There are no parts.
    """
    whole: Terms | None = None
    for part in parts:
        rounded = on_grid(part, count)
        whole = rounded if whole is None else add(whole, rounded)
    if whole is None:
        raise ValueError("there are no images to take a statistic of")
    return whole


def add(one: Terms, other: Terms) -> Terms:
    """Return the sum of two totals."""
    return tuple(a + b for a, b in zip(one, other, strict=True))


def on_grid(terms: Terms, count: int) -> Terms:
    """Return ``terms`` rounded to multiples of a power of two that ``count`` sets."""
    grid = 2.0 ** (math.ceil(math.log2(max(count, 2))) + _HEADROOM - _MANTISSA)
    return tuple(np.round(np.asarray(one, np.float64) / grid) * grid for one in terms)
