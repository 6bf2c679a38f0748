"""How features are judged: a linear probe and nearest neighbours, both without tricks.

The scoreboard's own protocol; the gate's probes (``models/metrics.py``) are quicker and
judge fewer images.
"""

from typing import NamedTuple

import numpy as np
import scipy.optimize

STRENGTHS = (1e-1, 3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
"""Weights of the penalty that are tried, the strongest first."""
PATIENCE = 2
"""Weaker penalties are not tried once so many in a row did not help."""
NEIGHBOURS = 20
TEMPERATURE = 0.1
_SMALLEST_SPREAD = 1e-6
_ROWS = 2048
_TOLERANCE = {"gtol": 1e-5, "ftol": 1e-7, "maxiter": 500, "maxcor": 20}


class Linear(NamedTuple):
    """A linear probe.

    Attributes:
        mean: Subtracted from the features, (d,).
        scale: Then multiplied, (d,).
        weights: Then multiplied, (d, classes).
        bias: Added, (classes,).
    """

    mean: np.ndarray
    scale: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    def named(self, features: np.ndarray) -> np.ndarray:
        """Return the class of each row of ``features``, (n, d)."""
        weights = self.scale[:, None] * self.weights
        scores = features @ weights + (self.bias - self.mean @ weights)
        return np.asarray(scores.argmax(axis=1))


class Chosen(NamedTuple):
    """A linear probe and the penalty that was chosen for it.

    Attributes:
        probe: Fitted on all training features.
        strength: Weight of its penalty.
        tried: Accuracy on the held-out training features of each strength tried.
    """

    probe: Linear
    strength: float
    tried: dict[float, float]


def choose(features: np.ndarray, labels: np.ndarray, held_out: np.ndarray) -> Chosen:
    """Return the probe whose penalty does best on held-out training features.

    Args:
        features: Of the training images, float32, (n, d).
        labels: Of the training images, whole numbers from 0, (n,).
        held_out: True where an image is not fitted on while the penalty is chosen.
    """
    classes = int(labels.max()) + 1
    mean, scale = _standard(features[~held_out])
    rows, judged = (features[~held_out] - mean) * scale, features[held_out]
    tried: dict[float, float] = {}
    starts: dict[float, np.ndarray] = {}
    start = np.zeros((features.shape[1] + 1, classes))
    for strength in STRENGTHS:
        start = _minimum(rows, labels[~held_out], strength, start)
        starts[strength] = start
        probe = Linear(mean, scale, *_parts(start))
        tried[strength] = float(np.mean(probe.named(judged) == labels[held_out]))
        if list(tried.values()).index(max(tried.values())) < len(tried) - PATIENCE:
            break
    best = max(tried, key=lambda strength: tried[strength])
    del rows
    return Chosen(fit(features, labels, best, starts[best]), best, tried)


def fit(
    features: np.ndarray,
    labels: np.ndarray,
    strength: float,
    start: np.ndarray | None = None,
) -> Linear:
    """Return multinomial logistic regression on standardised features.

    The least mean cross-entropy plus ``strength / 2`` times the squared weights (not
    the bias): scikit-learn's with C = 1 / (n · strength). L-BFGS over products in
    float32.

    Args:
        features: Float32, (n, d).
        labels: Whole numbers from 0, (n,).
        strength: Weight of the penalty.
        start: Weights and bias to begin with, (d + 1, classes).
    """
    if start is None:
        start = np.zeros((features.shape[1] + 1, int(labels.max()) + 1))
    mean, scale = _standard(features)
    rows = features - mean
    rows *= scale
    return Linear(mean, scale, *_parts(_minimum(rows, labels, strength, start)))


def neighbours(
    features: np.ndarray, labels: np.ndarray, judged: np.ndarray, batch: int = 512
) -> np.ndarray:
    """Return the class of each row of ``judged`` by its nearest rows of ``features``.

    The 20 nearest by cosine similarity s vote with weight exp(s / 0.1): Wu, Xiong, Yu
    and Lin (2018), section 3.4, as is usual for features learned without labels.
    """
    known = _unit(features)
    count = min(NEIGHBOURS, len(known))
    classes = int(labels.max()) + 1
    named = np.empty(len(judged), np.int64)
    for start in range(0, len(judged), batch):
        likeness = _unit(judged[start : start + batch]) @ known.T  # (batch, n)
        nearest = np.argpartition(likeness, -count, axis=1)[:, -count:]
        close = np.take_along_axis(likeness, nearest, axis=1)
        votes = np.zeros((len(nearest), classes))
        rows = np.repeat(np.arange(len(nearest)), count)
        weights = np.exp((close - 1.0) / TEMPERATURE)
        np.add.at(votes, (rows, labels[nearest].ravel()), weights.ravel())
        named[start : start + batch] = votes.argmax(axis=1)
    return named


def _minimum(
    rows: np.ndarray, labels: np.ndarray, strength: float, start: np.ndarray
) -> np.ndarray:
    """Return weights and, in the last row, bias, (d + 1, classes), that cost least."""
    count, here = len(rows), np.arange(len(rows))

    def cost(flat: np.ndarray) -> tuple[float, np.ndarray]:
        given = flat.reshape(start.shape)
        weights, bias = _parts(given)
        scores = rows @ weights + bias  # (n, classes)
        scores -= scores.max(axis=1, keepdims=True)
        right = scores[here, labels].sum(dtype=np.float64)
        np.exp(scores, out=scores)
        totals = scores.sum(axis=1, keepdims=True)
        loss = (np.log(totals).sum(dtype=np.float64) - right) / count
        loss += 0.5 * strength * float(np.square(given[:-1]).sum())
        scores /= totals
        scores[here, labels] -= 1.0
        slope = np.empty_like(given)
        slope[:-1] = rows.T @ scores / count + strength * given[:-1]
        slope[-1] = scores.mean(axis=0, dtype=np.float64)
        return loss, slope.ravel()

    found = scipy.optimize.minimize(
        cost, start.ravel(), jac=True, method="L-BFGS-B", options=_TOLERANCE
    )
    return np.asarray(found.x).reshape(start.shape)


def _parts(whole: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    single = whole.astype(np.float32)
    return single[:-1], single[-1]


def _standard(features: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return mean and 1 / standard deviation of each feature; 0 for a silent one."""
    mean = features.mean(axis=0, dtype=np.float64)
    squares = np.zeros_like(mean)
    for start in range(0, len(features), _ROWS):  # in parts: a copy may not fit
        centred = features[start : start + _ROWS] - mean
        squares += np.einsum("ij,ij->j", centred, centred)
    spread = np.sqrt(squares / len(features))
    silent = spread <= _SMALLEST_SPREAD * spread.max()
    scale = np.where(silent, 0.0, 1.0 / np.where(silent, 1.0, spread))
    return mean.astype(np.float32), scale.astype(np.float32)


def _unit(features: np.ndarray) -> np.ndarray:
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return np.asarray(features / np.maximum(norms, 1e-12), np.float32)
