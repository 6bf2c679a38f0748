"""A dictionary of image patches, learned in closed form and by k-means, in NumPy.

Coates and Ng (2011), "The importance of encoding versus training with sparse coding and
vector quantization": contrast normalisation, ZCA whitening, a dictionary, a threshold.
All of it that is linear is folded into two matrices.
"""

from typing import NamedTuple

import numpy as np
import scipy.linalg
import scipy.sparse
from numpy.lib.stride_tricks import sliding_window_view

ROUNDS = 8
AT_ONCE = 20_000
"""Patches that are compared with all atoms at once."""


class Coding(NamedTuple):
    """How patches become codes.

    Attributes:
        atoms: How many the dictionary has.
        components: Principal components of a patch that are kept; 0: all.
        contrast_floor: Added to a patch's variance before it is divided by it.
        zca_epsilon: Added to the variances that ZCA brings to 1.
    """

    atoms: int
    components: int
    contrast_floor: float
    zca_epsilon: float


class Dictionary(NamedTuple):
    """Patches to how much of each atom they have.

    Attributes:
        projection: Patch to principal components, its mean removed, (values,
            components); contrast is normalised between this and the next.
        kernel: Then multiplied by this, (components, atoms): ZCA and the atoms.
        bias: And added, (atoms,).
    """

    projection: np.ndarray
    kernel: np.ndarray
    bias: np.ndarray


def patches(
    images: np.ndarray, side: int, each: int, rng: np.random.Generator
) -> np.ndarray:
    """Return ``each`` random patches of every image, (n × each, side × side × c).

    Args:
        images: Of shape (n, height, width, channels).
        side: Of a patch.
        each: Patches of one image.
        rng: Draws their places.
    """
    windows = sliding_window_view(images, (side, side), axis=(1, 2))
    count, rows, columns = windows.shape[:3]
    which = np.repeat(np.arange(count), each)
    places = [rng.integers(0, most, len(which)) for most in (rows, columns)]
    found = windows[which, *places]  # (n × each, c, side, side)
    return np.moveaxis(found, 1, -1).reshape(len(which), -1)


def learn(found: np.ndarray, coding: Coding, rng: np.random.Generator) -> Dictionary:
    """Return the dictionary of the patches ``found``, float32, (n, values)."""
    values = found.shape[1]
    centring = np.eye(values) - 1.0 / values
    projection = centring @ _directions(found @ centring, coding.components)
    rows = normalised(found @ projection, values, coding.contrast_floor)
    mean = rows.mean(axis=0)
    covariance = np.atleast_2d(np.cov(rows, rowvar=False, bias=True))
    whiten = _zca(covariance, coding.zca_epsilon)
    white = ((rows - mean) @ whiten).astype(np.float32)
    kernel = whiten @ gain_shape_means(white, coding.atoms, rng).T
    return Dictionary(projection, kernel, -mean @ kernel)


def normalised(rows: np.ndarray, values: int, floor: float) -> np.ndarray:
    """Return principal components over their patch's contrast.

    Args:
        rows: Principal components of patches, (n, components).
        values: The numbers in a patch.
        floor: Added to its variance.
    """
    variance = np.square(rows).sum(axis=1, keepdims=True) / values
    return rows / np.sqrt(variance + floor)


def gain_shape_means(
    rows: np.ndarray, count: int, rng: np.random.Generator
) -> np.ndarray:
    """Return ``count`` directions of length 1, (count, d), by k-means without lengths.

    Coates and Ng (2012), "Learning feature representations with k-means": a row belongs
    to the direction that it is most parallel to, of either sign.

    Args:
        rows: White rows, float32, (n, d).
        count: How many directions.
        rng: Draws the first ones, and new ones for those that no row belongs to.
    """
    atoms = _unit(rows[rng.choice(len(rows), count, replace=len(rows) < count)])
    for _ in range(ROUNDS):
        sums = np.zeros_like(atoms)
        for start in range(0, len(rows), AT_ONCE):
            part = rows[start : start + AT_ONCE]
            likeness = part @ atoms.T
            nearest = np.abs(likeness).argmax(axis=1)
            each = np.arange(len(part))
            gains = (likeness[each, nearest], (nearest, each))
            sums += scipy.sparse.csr_matrix(gains, (count, len(part))) @ part
        lost = np.linalg.norm(sums, axis=1) < np.finfo(np.float32).eps
        sums[lost] = rows[rng.integers(0, len(rows), int(lost.sum()))]
        atoms = _unit(sums)
    return atoms


def _directions(rows: np.ndarray, count: int) -> np.ndarray:
    """Return the ``count`` leading principal directions of centred patches."""
    most = rows.shape[1] - 1  # the mean, which is removed, is one of all
    _, vectors = scipy.linalg.eigh(rows.T @ rows / len(rows))
    return np.ascontiguousarray(vectors[:, ::-1][:, : min(count or most, most)])


def _zca(covariance: np.ndarray, epsilon: float) -> np.ndarray:
    values, vectors = scipy.linalg.eigh(covariance)
    return (vectors / np.sqrt(np.maximum(values, 0.0) + epsilon)) @ vectors.T


def _unit(rows: np.ndarray) -> np.ndarray:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    return rows / np.maximum(lengths, np.finfo(np.float32).tiny)
