"""How far apart two clouds of features are: the Fréchet distance of their Gaussians."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]


class Gaussian(NamedTuple):
    """A Gaussian fitted to features.

    Attributes:
        mean: Of shape ``(d,)``, float64.
        covariance: Of shape ``(d, d)``, float64; it may be singular.
    """

    mean: NDArray[np.float64]
    covariance: NDArray[np.float64]


def gaussian_of(features: Floats) -> Gaussian:
    """Return the Gaussian with the mean and covariance of ``features``, ``(n, d)``.

    Raises:
        ValueError: There are fewer than two, or not all are finite.
    """
    exact = np.asarray(features, np.float64)
    if len(exact) < 2 or not np.isfinite(exact).all():
        raise ValueError(
            f"a Gaussian needs two rows of finite features, got {len(exact)} rows"
            f"{'' if np.isfinite(exact).all() else ', some of them not finite'}"
        )
    mean = exact.mean(axis=0)
    centred = exact - mean
    return Gaussian(mean, centred.T @ centred / (len(exact) - 1))


def distance(one: Gaussian, other: Gaussian) -> float:
    """Return the squared Fréchet distance between two Gaussians.

    Dowson and Landau (1982), used on features of images by Heusel et al. (2017):
    ``|m - n|² + tr(S + T - 2 (S T)^½)``. The last trace is the sum of the singular
    values of ``S^½ T^½``, which needs no root of a matrix that is not symmetric, is
    real whatever is singular, and does not depend on the order of the two.
    """
    apart = one.mean - other.mean
    shared = np.linalg.svd(_root(one) @ _root(other), compute_uv=False).sum()
    spread = np.trace(one.covariance) + np.trace(other.covariance)
    return float(max(0.0, apart @ apart + spread - 2.0 * shared))


def _root(one: Gaussian) -> NDArray[np.float64]:
    """Return the symmetric root of a covariance."""
    values, vectors = np.linalg.eigh(one.covariance)
    return np.asarray((vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T)
