"""Preset ``conv``: strided convolutions, a dense bottleneck, a mirrored decoder.

The latent is two whitened halves. The decoder reads the bottleneck; the other half is
what each convolution saw in each quarter of the image. A linear model tells classes
apart better by both than by either; nearest neighbours do as well by the bottleneck
alone (on digits, ``docs/table-contract.md``).
"""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, Self

import keras
import numpy as np
from keras import layers

from models import blocks, device, frozen, objectives, readout, training
from models.readout import Group
from models.settings import ConvSettings
from models.spec import ImageShape
from models.task import Candidate, Task
from models.whitening import Whitening


class Halves(NamedTuple):
    """How many numbers of a latent come from where.

    Attributes:
        bottleneck: From the bottleneck, which the decoder reads.
        pooled: From the pooled activations.
    """

    bottleneck: int
    pooled: int

    @classmethod
    def of(cls, settings: ConvSettings) -> Self:
        """Return the halves nearest to the wanted share; the bottleneck has one."""
        available = 4 * sum(settings.widths)
        wanted = round(settings.latent_dim * settings.pooled_share)
        pooled = min(wanted, available, settings.latent_dim - 1)
        return cls(settings.latent_dim - pooled, pooled)


class Parts(NamedTuple):
    """What is trained, and where the latent is read from.

    Attributes:
        coder: Image to what the painter is given: the bottleneck, or a draw about it.
        means: Image to bottleneck.
        features: Image to bottleneck and pooled activations.
        painter: Bottleneck to image.
    """

    coder: keras.Model
    means: keras.Model
    features: keras.Model
    painter: keras.Model


def fit(task: Task) -> Candidate:
    """Return a trained encoder and decoder; the latent is whitened afterwards."""
    settings = task.encoder
    assert isinstance(settings, ConvSettings)
    settings = frozen.pinned(settings)
    parts = build(task.data.train.shape, settings)
    model = objectives.autoencoder(parts.coder, parts.painter, parts.means, settings)
    trained = training.train(model, dataclasses.replace(task, encoder=settings))
    maps = readout.fitted(parts.features, groups(settings), task)
    encoder, decoder = finish(parts, settings, maps)
    return Candidate(encoder, decoder, trained, frozen.digests(settings))


def groups(settings: ConvSettings) -> tuple[Group, Group]:
    """Return the halves of the latent."""
    halves = Halves.of(settings)
    return Group("bottleneck", halves.bottleneck), Group("pooled", halves.pooled)


def build(shape: ImageShape, settings: ConvSettings) -> Parts:
    """Return the untrained parts of an autoencoder for images of ``shape``."""
    images = keras.Input(tuple(shape), name="images")  # (batch, h, w, c)
    maps = _maps(images, settings.widths)
    maps[-1] = blocks.transformer(maps[-1], settings.attention)
    flat = layers.Flatten()(maps[-1])
    numbers = Halves.of(settings).bottleneck
    code, drawn = objectives.code(flat, numbers, shape, settings)
    pooled = [readout.quarters(one) for one in maps]
    pooled = layers.Concatenate()(pooled) if len(pooled) > 1 else pooled[0]
    return Parts(
        coder=keras.Model(images, drawn, name="coder"),
        means=keras.Model(images, code, name="means"),
        features=keras.Model(images, [code, pooled], name="features"),
        painter=_painter(shape, code.shape[-1], settings.widths),
    )


def finish(
    parts: Parts, settings: ConvSettings, maps: Sequence[Whitening]
) -> tuple[keras.Model, keras.Model]:
    """Return encoder and decoder; the decoder's first layer undoes the whitening."""
    encoder = readout.encoder(parts.features, groups(settings), maps)
    numbers, back = encoder.output_shape[-1], maps[0].back
    kernel = np.zeros((numbers, back.shape[1]))
    kernel[: len(back)] = back
    latents = keras.Input((numbers,), name="latents")
    code = readout.affine(kernel, maps[0].mean, "code")(latents)
    decoder = keras.Model(latents, parts.painter(code), name="decoder")
    return encoder, device.settle(decoder)


def _maps(images: keras.KerasTensor, widths: tuple[int, ...]) -> list:
    maps = []
    for width in widths:
        images = layers.Conv2D(width, 3, strides=2, padding="same", activation="relu")(
            images
        )
        maps.append(images)  # (batch, ceil(h / 2), ceil(w / 2), width)
    return maps


def _painter(shape: ImageShape, numbers: int, widths: tuple[int, ...]) -> keras.Model:
    sizes = [(shape.height, shape.width)]
    for _ in widths:
        sizes.append((-(-sizes[-1][0] // 2), -(-sizes[-1][1] // 2)))
    code = keras.Input((numbers,), name="code")
    first = (*sizes[-1], widths[-1])
    image = layers.Dense(int(np.prod(first)), activation="relu")(code)
    image = layers.Reshape(first)(image)
    outputs = [*widths[-2::-1], shape.channels]
    for place, (width, size) in enumerate(zip(outputs, sizes[-2::-1], strict=True)):
        last = place == len(outputs) - 1
        image = layers.Conv2DTranspose(
            width, 3, strides=2, padding="same", activation=None if last else "relu"
        )(image)
        image = _cropped(image, size)  # (batch, *size, width)
    return keras.Model(code, image, name="painter")


def _cropped(image: keras.KerasTensor, size: tuple[int, int]) -> keras.KerasTensor:
    more = [
        found - wanted for found, wanted in zip(image.shape[1:3], size, strict=True)
    ]
    if not any(more):
        return image
    return layers.Cropping2D(((0, more[0]), (0, more[1])))(image)
