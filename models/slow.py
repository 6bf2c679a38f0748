"""The slow map: what of local codes tells images apart more than places in an image.

Slow features (Wiskott and Sejnowski, 2002) with an image in place of time, as in the
sparse manifold transform (Chen, Yun, Ma, Olshausen and LeCun, 2022): the directions in
which the means of images vary most, for how much codes vary at all.
"""

import keras
import numpy as np
import scipy.linalg

from models import device, readout
from models.sums import Terms

AT_ONCE = 64
"""Images whose codes are held at once: more do not fit into a core's cache."""
RIDGE = 1e-3
"""Added to the total variances, in shares of their mean."""


class Scatter:
    """Sums and products of local codes, and of their image means: a statistic.

    The products of a few images are taken in float32, twice as fast, and added in
    float64.
    """

    def __init__(self, codes: keras.Model) -> None:
        self._codes = device.settle(codes)

    def terms(self, images: np.ndarray) -> Terms:
        """Return images, places, sum, products of codes, and products of means."""
        size = self._codes.output_shape[-1]
        places, total = 0, np.zeros(size)
        within, between = np.zeros((size, size)), np.zeros((size, size))
        for start in range(0, len(images), AT_ONCE):
            (codes,) = readout.predicted(self._codes, images[start : start + AT_ONCE])
            rows = codes.reshape(-1, size)
            means = codes.mean(axis=(1, 2), dtype=np.float64)
            places += len(rows)
            total += rows.sum(axis=0, dtype=np.float64)
            within += rows.T @ rows
            between += means.T @ means
        return (
            np.array(float(len(images))),
            np.array(float(places)),
            total,
            within,
            between,
        )


def solve(scatter: Terms, numbers: int) -> tuple[np.ndarray, np.ndarray]:
    """Return kernel, (codes, numbers), and bias of the slow map.

    The generalised eigenvectors of the covariance of image means against that of all
    codes, the largest eigenvalues first; what they give has mean 0.

    Args:
        scatter: The total of :class:`Scatter`.
        numbers: How many numbers a place has then.
    """
    images, places, total, products, between = scatter
    mean = total / places
    spread = products / places - np.outer(mean, mean)
    of_means = between / images - np.outer(mean, mean)
    size = len(mean)
    least = max(RIDGE * np.trace(spread) / size, np.finfo(np.float32).tiny)
    _, vectors = scipy.linalg.eigh(
        of_means,
        spread + least * np.eye(size),
        subset_by_index=[size - numbers, size - 1],
    )
    kernel = vectors[:, ::-1]
    return kernel, -mean @ kernel
