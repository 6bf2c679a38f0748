"""A latent of two parts: what a network has learned to see, and pixels.

For presets that are trained by gradient to tell images apart, and have no decoder of
use: both parts are whitened, and a linear decoder reads both.
"""

from typing import Protocol

import keras

from models import pixels, readout
from models.readout import Group
from models.task import Task

DECODED = 20_000
"""Training images that the decoder is fitted on, at most."""
RIDGE = 0.01
"""Variance that a faint direction of what is seen is taken to have besides its own."""


class Shares(Protocol):
    """The settings that say how large the parts are."""

    @property
    def latent_dim(self) -> int:
        """Numbers in a latent."""

    @property
    def pixel_share(self) -> float:
        """The part of them that is of pixels."""


def beside_pixels(
    images: keras.KerasTensor, seen: keras.KerasTensor, name: str = "features"
) -> keras.Model:
    """Return the model: image to what is ``seen`` of it, and to its pixels."""
    return keras.Model(images, [seen, pixels.pixel_features(images)], name=name)


def groups(features: keras.Model, settings: Shares) -> tuple[Group, Group]:
    """Return the parts of the latent; one fills what the other has too few for.

    Raises:
        ValueError: Both together have fewer numbers than the latent wants.
    """
    available, painted = (one.shape[-1] for one in features.outputs)
    wanted = round(settings.latent_dim * (1.0 - settings.pixel_share))
    semantic = min(max(wanted, settings.latent_dim - painted), available)
    rest = settings.latent_dim - semantic
    if rest > painted:
        raise ValueError(
            f"encoder.latent_dim is {settings.latent_dim}, and this preset has "
            f"{available} features and {painted} pixels: lower it, or ask for "
            "a wider network."
        )
    seen = Group("semantic", semantic, RIDGE, standardised=True)
    return seen, Group("pixels", rest)


def finish(
    features: keras.Model, settings: Shares, task: Task
) -> tuple[keras.Model, keras.Model]:
    """Return encoder and decoder, fitted on training images.

    Args:
        features: Image to what is seen of it and to its pixels.
        settings: How large the parts are.
        task: Says which images, and who adds up over them.
    """
    parts = groups(features, settings)
    encoder = readout.encoder(features, parts, readout.fitted(features, parts, task))
    kernel, bias = pixels.fitted(encoder, task, DECODED)
    return encoder, pixels.decoder(kernel, bias, task.data.train.shape)
