"""Where the latents of a space lie: densities to draw new latents from.

An autoencoder does not say which latents are likely. A density fitted to those of its
training images, after the training, does: Ghosh et al. (2020), "From variational to
deterministic autoencoders". A variational encoder was trained towards a prior instead.
"""

import dataclasses
import math
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from sklearn.mixture import GaussianMixture

Floats = NDArray[np.floating]
Array = NDArray[np.float64]
Name = Literal["mixture", "gaussian", "prior"]

LEADING = 64
"""Directions that a mixture covers, at most; along the others latents are normal."""
COMPONENTS = (1, 2, 5, 10, 20, 40, 80)
"""Sizes of a mixture, tried until one more makes unseen latents less likely."""
LEAST_EACH = 20
"""Latents that each component must have on average."""
UNSEEN = 0.2
"""Part of the latents that the sizes are judged on."""
SMOOTHING = 0.003
"""Added to each variance of a component, as a share of the directions' mean one."""
ROUNDS = 100
SILENT = 1e-10
"""Directions with less than this share of the first one's variance carry nothing."""
LEAST_WEIGHT = 1e-3
"""The least weight of a number, as a share of the greatest."""


@dataclasses.dataclass(frozen=True)
class Density:
    """A density over latents: normal, but for a mixture along its first directions.

    Attributes:
        name: Of its kind.
        mean: Of shape ``(d,)``.
        steps: Of shape ``(r, d)``: a latent is the mean and so many of each step.
        back: Of shape ``(d, r)``: from a latent less the mean to its steps.
        mixture: Over the first steps; ``None`` where all are normal.
    """

    name: Name
    mean: Array
    steps: Array
    back: Array
    mixture: "GaussianMixture | None" = None

    def sample(self, count: int, rng: np.random.Generator) -> NDArray[np.float32]:
        """Return ``count`` latents, of shape ``(count, d)``."""
        taken = rng.standard_normal((count, len(self.steps)))
        if self.mixture is not None:
            taken[:, : self._mixed] = _drawn(self.mixture, count, rng)
        return (self.mean + taken @ self.steps).astype(np.float32)

    def log_likelihood(self, latents: Floats) -> Array:
        """Return the logarithm of the density at each of ``latents``, ``(n,)``.

        Where directions carry nothing, it is that of the ones that do.
        """
        taken = (np.asarray(latents, np.float64) - self.mean) @ self.back
        rest = taken[:, self._mixed :]
        normal = rest.shape[1] * math.log(2.0 * math.pi)
        found = -0.5 * (np.einsum("ij,ij->i", rest, rest) + normal)
        if self.mixture is not None:
            found += self.mixture.score_samples(taken[:, : self._mixed])
        _, volume = np.linalg.slogdet(self.steps @ self.steps.T)
        return np.asarray(found - 0.5 * volume)

    def describe(self) -> dict[str, Any]:
        """Return what it is, as JSON can hold it."""
        components = 1 if self.mixture is None else len(self.mixture.weights_)
        return {
            "density": self.name,
            "components": components,
            "directions": len(self.steps),
            "mixed": self._mixed,
        }

    @property
    def _mixed(self) -> int:
        return 0 if self.mixture is None else int(self.mixture.means_.shape[1])


def prior(numbers: int) -> Density:
    """Return what a variational encoder was trained towards: normal, variance 1."""
    whole = np.eye(numbers)
    return Density("prior", np.zeros(numbers), whole, whole)


def gaussian(latents: Floats, weights: Floats | None = None) -> Density:
    """Return the normal density with the mean and covariance of ``latents``, (n, d).

    ``weights``, ``(d,)``, say which of its directions come first: those of the largest
    variance once each number is multiplied by its weight.

    Raises:
        ValueError: There are fewer than two latents, or not all are finite.
    """
    exact = np.asarray(latents, np.float64)
    if len(exact) < 2 or not np.isfinite(exact).all():
        raise ValueError(
            f"a density needs two finite latents or more, got {len(exact)}"
            f"{'' if np.isfinite(exact).all() else ', some of them not finite'}"
        )
    scale = _scale(exact.shape[1], weights)
    mean = exact.mean(axis=0)
    weighted = (exact - mean) * scale
    values, vectors = np.linalg.eigh(weighted.T @ weighted / (len(exact) - 1))
    order = np.argsort(values)[::-1]
    order = order[values[order] > SILENT * values[order[0]]]
    spread, directions = np.sqrt(values[order]), vectors[:, order]
    steps = (directions * spread).T / scale
    return Density("gaussian", mean, steps, (directions.T * scale).T / spread)


def mixture(latents: Floats, weights: Floats | None = None, seed: int = 0) -> Density:
    """Return a mixture of Gaussians with full covariances, fitted to ``latents``.

    It has as many components as make latents it was not fitted to most likely. With
    more than ``LEADING`` directions it covers the first (see :func:`gaussian`). They
    keep the spread that the weights give them: clusters are looked for where it shows.
    """
    from threadpoolctl import threadpool_limits

    whole = _spread(gaussian(latents, weights), weights)
    exact = np.asarray(latents, np.float64)
    order = np.random.default_rng(seed).permutation(len(exact))
    taken = ((exact - whole.mean) @ whole.back)[order, :LEADING]
    cut = len(taken) - round(UNSEEN * len(taken))
    best, size = -np.inf, 1
    with threadpool_limits(1):  # its steps are small
        for components in COMPONENTS:
            if components > 1 and cut < LEAST_EACH * components:
                break
            found = _fitted(taken[:cut], components, seed).score(taken[cut:])
            if found <= best:
                break
            best, size = found, components
        return dataclasses.replace(
            whole, name="mixture", mixture=_fitted(taken, size, seed)
        )


def _spread(normal: Density, weights: Floats | None) -> Density:
    """Return the density with its first steps so long that their weights are even."""
    scale = _scale(normal.steps.shape[1], weights)
    lengths = np.linalg.norm(normal.steps * scale, axis=1)[:LEADING]
    factor = np.ones(len(normal.steps))
    factor[:LEADING] = lengths / np.sqrt(np.mean(lengths**2))
    return dataclasses.replace(
        normal, steps=normal.steps / factor[:, None], back=normal.back * factor
    )


def _scale(numbers: int, weights: Floats | None) -> Array:
    scale = np.ones(numbers) if weights is None else np.asarray(weights, np.float64)
    return np.maximum(scale, LEAST_WEIGHT * scale.max())


def _fitted(taken: Array, components: int, seed: int) -> "GaussianMixture":
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    model = GaussianMixture(
        components, reg_covar=SMOOTHING, max_iter=ROUNDS, random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(taken)


def _drawn(model: "GaussianMixture", count: int, rng: np.random.Generator) -> Array:
    which = rng.choice(len(model.weights_), size=count, p=model.weights_)
    found = rng.standard_normal((count, model.means_.shape[1]))
    for component in np.unique(which):
        inside = which == component
        root = np.linalg.cholesky(model.covariances_[component])
        found[inside] = model.means_[component] + found[inside] @ root.T
    return found
