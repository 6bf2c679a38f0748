"""Losses that say of two views of an image that they are alike, and of images not."""

from typing import Any

from keras import ops

EPSILON = 1e-4
"""Added to a variance before its root is taken: the root's slope at 0 is infinite."""
SPREAD = 1.0
"""A dimension that spreads less than this is asked for more."""


def vicreg(
    first: Any,
    second: Any,
    *,
    invariance: float = 25.0,
    variance: float = 25.0,
    covariance: float = 1.0,
) -> Any:
    """Return how unlike the views are, how little they spread and how they repeat.

    Bardes, Ponce and LeCun (2022): without the second and third term the same code for
    every image would do. Nothing is asked of pairs of different images, so batches may
    be small.

    Args:
        first: Codes of one view of each image, (n, d), of any floating type.
        second: Codes of another view of the same images in the same order, (n, d).
        invariance: Weight of the mean squared difference of the two.
        variance: Weight of how far each dimension's standard deviation is below 1.
        covariance: Weight of the squared covariances of different dimensions.

    Returns:
        A scalar, float32.
    """
    first, second = ops.cast(first, "float32"), ops.cast(second, "float32")
    alike = ops.mean(ops.square(first - second))
    spread, repeated = (
        one + other
        for one, other in zip(_moments(first), _moments(second), strict=True)
    )
    return invariance * alike + variance * spread + covariance * repeated


def _moments(codes: Any) -> tuple[Any, Any]:
    """Return how little the dimensions spread, and how much they repeat another."""
    centred = codes - ops.mean(codes, axis=0)
    divisor = ops.cast(ops.maximum(ops.shape(codes)[0] - 1, 1), "float32")
    variances = ops.sum(ops.square(centred), axis=0) / divisor  # (d,)
    missing = ops.mean(ops.relu(SPREAD - ops.sqrt(variances + EPSILON)))
    matrix = ops.matmul(ops.transpose(centred), centred) / divisor  # (d, d)
    shared = ops.sum(ops.square(matrix)) - ops.sum(ops.square(variances))
    return missing, shared / codes.shape[-1]
