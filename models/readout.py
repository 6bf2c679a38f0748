"""From features to a latent: chosen, whitened and put side by side.

A preset gives a model from image to *groups* of features. Each group becomes some
numbers of the latent, uncorrelated and of variance 1, by PCA on training images: cosine
distance then works on the latent as it is.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers

from models import device
from models.sums import Terms
from models.task import Task
from models.whitening import Whitening, whiten

WHITENED = 20_000
"""Training images that the whitening is fitted on, at most."""


class Group(NamedTuple):
    """Features that share their numbers of the latent.

    Attributes:
        name: Of the layer that whitens them.
        numbers: How many numbers of the latent they become.
        ridge: Added to the variances before they are brought to 1: see ``whiten``.
        standardised: Whether features are brought to variance 1 first.
    """

    name: str
    numbers: int
    ridge: float = 0.0
    standardised: bool = False


class Moments:
    """Count, sum and products of each group's features: a statistic of images."""

    def __init__(self, features: keras.Model) -> None:
        self._features = features

    def terms(self, images: np.ndarray) -> Terms:
        """Return count, then sum and products of each group."""
        found: list[Any] = [np.array(float(len(images)))]
        for rows in predicted(self._features, images):
            exact = rows.astype(np.float64)
            found += [exact.sum(axis=0), exact.T @ exact]
        return tuple(found)


def quarters(maps: keras.KerasTensor) -> keras.KerasTensor:
    """Return the mean of each quarter of maps; odd sizes share their middle row.

    A side of one place is not parted.

    Args:
        maps: A symbolic batch, (n, height, width, channels).
    """
    height, width = maps.shape[1:3]
    size = (-(-height // 2), -(-width // 2))
    strides = (max(height // 2, 1), max(width // 2, 1))
    means = layers.AveragePooling2D(size, strides=strides)(maps)
    return layers.Flatten()(means)  # (n, 4 × channels)


def fitted(
    features: keras.Model, groups: Sequence[Group], task: Task
) -> list[Whitening]:
    """Return how each group of ``features`` is whitened, fitted on training images."""
    moments = Moments(device.settle(features))
    return solve(task.summed(moments, task.data.train, WHITENED), groups)


def solve(moments: Terms, groups: Sequence[Group]) -> list[Whitening]:
    """Return how each group is whitened, by the total of :class:`Moments`."""
    count, found = moments[0], []
    for place, group in enumerate(groups):
        mean = moments[1 + 2 * place] / count
        covariance = moments[2 + 2 * place] / count - np.outer(mean, mean)
        found.append(
            whiten(
                mean,
                covariance,
                group.numbers,
                ridge=group.ridge,
                standardised=group.standardised,
            )
        )
    return found


def encoder(
    features: keras.Model, groups: Sequence[Group], maps: Sequence[Whitening]
) -> keras.Model:
    """Return the encoder: image to latent, the groups side by side in their order."""
    images = keras.Input(features.input_shape[1:], name="images")
    parts = [
        affine(one.forward, -one.mean @ one.forward, group.name)(values)
        for values, group, one in zip(
            _listed(features(images)), groups, maps, strict=True
        )
        if group.numbers
    ]
    latents = parts[0] if len(parts) == 1 else layers.Concatenate()(parts)
    return device.settle(keras.Model(images, latents, name="encoder"))


def affine(kernel: np.ndarray, bias: np.ndarray, name: str) -> layers.Dense:
    """Return a layer that multiplies by ``kernel`` and adds ``bias``; never trained."""
    layer = layers.Dense(kernel.shape[1], trainable=False, name=name, dtype="float32")
    layer.build((None, kernel.shape[0]))
    layer.set_weights([kernel.astype(np.float32), bias.astype(np.float32)])
    return layer


def predicted(model: keras.Model, images: np.ndarray) -> list[np.ndarray]:
    """Return each output of ``model`` for ``images``."""
    return [np.asarray(one) for one in _listed(model.predict_on_batch(images))]


def _listed(outputs: Any) -> list[Any]:
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]
