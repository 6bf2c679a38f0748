"""What may be asked of an autoencoder beside painting: chosen by its settings.

:func:`autoencoder` is what a preset that is trained by gradient calls.
"""

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from models import frozen
from models.autoencoder import Autoencoder
from models.corruption import Corruption
from models.losses import vicreg
from models.settings import GradientSettings
from models.spec import ImageShape
from models.views import Views

LOG_VARIANCES = (-12.0, 6.0)
"""A code's variance stays in reach of its exponential."""


def autoencoder(
    coder: keras.Model,
    painter: keras.Model,
    means: keras.Model,
    settings: GradientSettings,
) -> Autoencoder:
    """Return what trains ``coder`` and ``painter`` for all that the settings ask.

    Args:
        coder: Image to what the painter is given; draws it, if it is variational.
        painter: Code to image.
        means: Image to code; draws nothing.
        settings: Which terms there are, and their weights.

    Raises:
        ValueError: The frozen model of the settings cannot be used.
    """
    terms: list[keras.layers.Layer] = []
    if settings.discriminative:
        terms.append(Discriminative(means, settings))
    if settings.perceptual:
        terms.append(frozen.term(settings, coder.input_shape[1:]))
    corrupted = settings.noise or settings.mask
    corruption = Corruption(settings.noise, settings.mask) if corrupted else None
    return Autoencoder(coder, painter, corruption, terms)


def code(
    features: keras.KerasTensor,
    numbers: int,
    shape: ImageShape,
    settings: GradientSettings,
) -> tuple[keras.KerasTensor, keras.KerasTensor]:
    """Return the code of ``features``, (n, numbers), and what the painter is given.

    The two are one, unless the code is variational: then the painter is given a draw
    about it, in training.

    Args:
        features: A symbolic batch, (n, features).
        numbers: The size of the code.
        shape: Of the images.
        settings: Whether the code is variational.
    """
    mean = layers.Dense(numbers, name="code")(features)
    if not settings.kl:
        return mean, mean
    log_variance = layers.Dense(numbers, name="log_variance")(features)
    weight = settings.kl / shape.size  # the error it stands beside is a mean as well
    drawn = Sampling(weight, settings.free_bits, name="sampling")
    return mean, drawn(mean, log_variance)


def kl_of_dimensions(mean: Any, log_variance: Any) -> Any:
    """Return the divergence of codes from N(0, 1), in nats, mean over codes: (d,).

    Args:
        mean: (n, d).
        log_variance: (n, d).
    """
    each = ops.square(mean) + ops.exp(log_variance) - log_variance - 1.0
    return 0.5 * ops.mean(each, axis=0)


def prior(decoder: keras.Model, count: int, rng: np.random.Generator) -> np.ndarray:
    """Return latents whose codes are drawn from a variational encoder's prior, N(0, 1).

    Args:
        decoder: A preset's decoder, whose layer ``code`` leads from latent to code.
        count: How many.
        rng: What draws.

    Returns:
        float32, (count, latent_dim); numbers that the code does not touch are 0, their
        mean.
    """
    kernel, bias = decoder.get_layer("code").get_weights()  # (latent_dim, numbers)
    codes = rng.standard_normal((count, kernel.shape[1]))
    back = np.linalg.pinv(kernel.astype(np.float64))
    return ((codes - bias) @ back).astype(np.float32)


class Sampling(keras.layers.Layer):
    """Draw a code about its mean in training, and ask that codes be like N(0, 1).

    Kingma and Welling (2014), with the free bits of Kingma et al. (2016): the
    divergence of each dimension costs nothing up to ``free_bits``, so that no dimension
    is given up.
    """

    def __init__(self, weight: float, free_bits: float, **kwargs: Any) -> None:
        super().__init__(trainable=False, dtype="float32", **kwargs)
        self.weight, self.free_bits = weight, free_bits
        self._draws = keras.random.SeedGenerator()

    def call(self, mean: Any, log_variance: Any, training: bool = False) -> Any:
        """Return a draw of each code in training, else its mean; (n, numbers)."""
        log_variance = ops.clip(log_variance, *LOG_VARIANCES)
        divergence = kl_of_dimensions(mean, log_variance)
        paid = ops.maximum(divergence, self.free_bits)
        self.add_loss(self.weight * ops.sum(paid))
        if not training:
            return mean
        noise = keras.random.normal(ops.shape(mean), seed=self._draws)
        return mean + ops.exp(0.5 * log_variance) * noise


class Discriminative(keras.layers.Layer):
    """Ask that two views of an image have like codes, and images unlike ones.

    VICReg (Bardes, Ponce and LeCun, 2022), behind a projector that is thrown away. It
    judges an image and its mirror image (itself, where views are not mirrored) outside
    training, where nothing is drawn.
    """

    def __init__(
        self, means: keras.Model, settings: GradientSettings, **kwargs: Any
    ) -> None:
        super().__init__(dtype="float32", **kwargs)
        self.weight, self.flip = settings.discriminative, settings.flip
        self._views = Views(flip=0.5 if settings.flip else 0.0, seed=None)
        self._means = means
        self._projector = _projector(means.output_shape[-1], settings.projector)
        self.built = True  # its parts are

    def call(self, images: Any, painted: Any, training: bool = False) -> Any:
        """Return the weighted loss of ``images``, (n, h, w, c)."""
        if training:
            pairs = [self._views(images), self._views(images)]
        else:
            pairs = [images, ops.flip(images, axis=2) if self.flip else images]
        both = ops.concatenate(pairs)  # one batch, so that its statistics are shared
        found = self._projector(self._means(both, training=training), training=training)
        return self.weight * vicreg(*ops.split(found, 2))


def _projector(numbers: int, widths: tuple[int, ...]) -> keras.Model:
    """Return code to what VICReg looks at: dense layers, normalised and rectified."""
    parts: list[keras.layers.Layer] = [keras.Input((numbers,))]
    for width in widths[:-1]:
        parts += [
            layers.Dense(width, use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
        ]
    parts += [layers.Dense(width, use_bias=False) for width in widths[-1:]]
    return keras.Sequential(parts, name="projector")
