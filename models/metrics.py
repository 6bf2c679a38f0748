"""Figures of quality: a value per image first, a mean second."""

import warnings
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.floating]

SMALLEST_ERROR = 1e-10
"""Squared errors below this count as this, so that PSNR ends at 100 dB."""
SSIM_WINDOW = 7
DEAD_FRACTION = 1e-3
"""A dimension that spreads less than this share of the widest one is dead."""
NEIGHBOURS = 10
PROBE_STRENGTH = 0.1
RESAMPLES = 2000


class Labelled(NamedTuple):
    """Features of images, and their labels.

    Attributes:
        features: Of shape ``(n, d)``.
        labels: Whole numbers of shape ``(n,)``.
    """

    features: Floats
    labels: NDArray[np.integer]


def squared_error(images: Floats, reconstructions: Floats) -> Floats:
    """Return the mean squared error of each image, of shape ``(n,)``.

    Args:
        images: Of shape ``(n, h, w, c)``, in [0, 1].
        reconstructions: Of the same shape.
    """
    difference = (images - reconstructions).reshape(len(images), -1)
    return np.einsum("ij,ij->i", difference, difference) / difference.shape[1]


def psnr(squared_errors: Floats) -> Floats:
    """Return each image's peak signal-to-noise ratio in dB, for range 1.

    Args:
        squared_errors: Mean squared error of each image, of shape ``(n,)``.
    """
    return -10.0 * np.log10(np.maximum(squared_errors, SMALLEST_ERROR))


def ssim(images: Floats, reconstructions: Floats) -> Floats:
    """Return each image's structural similarity, of shape ``(n,)``, for range 1.

    Wang, Bovik, Sheikh and Simoncelli (2004), with a uniform window of 7 × 7 and
    sample covariances, averaged over channels: what scikit-image computes by default,
    for a whole batch at once.

    Args:
        images: Of shape ``(n, h, w, c)``, in [0, 1]; h and w are at least 7.
        reconstructions: Of the same shape.
    """
    from scipy.ndimage import uniform_filter

    def local(values: Floats) -> Floats:
        edge = SSIM_WINDOW // 2
        smooth = uniform_filter(values, size=(1, SSIM_WINDOW, SSIM_WINDOW, 1))
        return np.asarray(smooth[:, edge:-edge, edge:-edge])

    x, y = images.astype(np.float64), reconstructions.astype(np.float64)
    mean_x, mean_y = local(x), local(y)
    unbiased = SSIM_WINDOW**2 / (SSIM_WINDOW**2 - 1)
    var_x = unbiased * (local(x * x) - mean_x**2)
    var_y = unbiased * (local(y * y) - mean_y**2)
    cov = unbiased * (local(x * y) - mean_x * mean_y)
    c1, c2 = 0.01**2, 0.03**2
    likeness = (2 * mean_x * mean_y + c1) * (2 * cov + c2)
    spread = (mean_x**2 + mean_y**2 + c1) * (var_x + var_y + c2)
    return np.asarray((likeness / spread).mean(axis=(1, 2, 3)))


def effective_rank(latents: Floats) -> float:
    """Return the effective rank of ``latents``: how many dimensions carry them.

    Roy and Vetterli (2007): the exponential of the entropy of the normalised singular
    values of the centred latents.

    Args:
        latents: Of shape ``(n, d)``.
    """
    centred = latents.astype(np.float64) - latents.mean(axis=0)
    if not np.isfinite(centred).all():
        return float("nan")
    values = np.linalg.eigvalsh(centred.T @ centred)
    singular = np.sqrt(np.maximum(values, 0.0))
    total = singular.sum()
    if not total > 0.0:
        return 0.0
    share = singular[singular > 0.0] / total
    return float(np.exp(-(share * np.log(share)).sum()))


def dead_dimensions(latents: Floats) -> int:
    """Return how many dimensions of ``latents``, of shape ``(n, d)``, say nothing."""
    spread = latents.std(axis=0, dtype=np.float64)
    return int((~(spread > DEAD_FRACTION * spread.max())).sum())  # NaN is dead too


def linear_probe(train: Labelled, held_out: Labelled) -> NDArray[np.bool_]:
    """Return for each held-out image whether a linear probe names it rightly.

    Logistic regression (C = 0.1, L-BFGS) on features standardised by the training
    images. A label that no training image has cannot be named rightly.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    probe = make_pipeline(
        StandardScaler(), LogisticRegression(C=PROBE_STRENGTH, max_iter=200)
    )
    with warnings.catch_warnings(), threadpool_limits(1):  # its steps are small
        warnings.simplefilter("ignore", ConvergenceWarning)
        probe.fit(train.features, train.labels)
    return np.asarray(probe.predict(held_out.features) == held_out.labels)


def knn(train: Labelled, held_out: Labelled, batch: int = 1024) -> NDArray[np.bool_]:
    """Return for each held-out image whether its ten nearest name it rightly.

    By cosine similarity, one vote each; the closer ones decide a tie.
    """
    known = _unit(train.features)
    count = min(NEIGHBOURS, len(known))
    classes = int(max(train.labels.max(), held_out.labels.max())) + 1
    right = np.zeros(len(held_out.labels), dtype=bool)
    for start in range(0, len(right), batch):
        here = slice(start, start + batch)
        likeness = _unit(held_out.features[here]) @ known.T  # (batch, train)
        nearest = np.argpartition(-likeness, count - 1, axis=1)[:, :count]
        close = np.take_along_axis(likeness, nearest, axis=1)
        votes = np.zeros((len(nearest), classes))
        rows = np.broadcast_to(np.arange(len(nearest))[:, None], nearest.shape)
        np.add.at(votes, (rows, train.labels[nearest]), 1.0 + 1e-3 * close)
        right[here] = votes.argmax(axis=1) == held_out.labels[here]
    return right


def bootstrap_interval(differences: Floats, seed: int = 0) -> tuple[float, float]:
    """Return both ends of the 95 % interval of the mean of paired ``differences``.

    Efron's percentile bootstrap over images, 2,000 resamples.

    Args:
        differences: One model's figure less the other's, of shape ``(n,)``.
        seed: Of the resampling.
    """
    rng = np.random.default_rng(seed)
    count = len(differences)
    at_once = max(1, 2_000_000 // count)
    means = np.empty(RESAMPLES)
    for start in range(0, RESAMPLES, at_once):
        stop = min(start + at_once, RESAMPLES)
        picked = rng.integers(count, size=(stop - start, count), dtype=np.int32)
        means[start:stop] = differences[picked].mean(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return float(low), float(high)


def _unit(features: Floats) -> Floats:
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(norms, 1e-12), dtype=np.float32)
