"""Preset ``conv``: strided convolutions, a dense bottleneck, a mirrored decoder.

The latent is two whitened halves. The decoder reads the bottleneck; the other half is
what each convolution saw in each quarter of the image. A linear model tells classes
apart better by both than by either; nearest neighbours do as well by the bottleneck
alone (on digits, ``docs/table-contract.md``).
"""

import keras
import numpy as np
from keras import layers

from models.presets.parts import Halves, Parts
from models.spec import ImageShape
from models.whitening import Whitening


def build(shape: ImageShape, halves: Halves, widths: tuple[int, ...]) -> Parts:
    """Return the untrained parts of an autoencoder for images of ``shape``."""
    images = keras.Input(tuple(shape), name="images")  # (batch, h, w, c)
    maps = _maps(images, widths)
    flat = layers.Flatten()(maps[-1])
    code = layers.Dense(halves.bottleneck, name="bottleneck")(flat)  # (batch, b)
    features = layers.Concatenate()([code, *(_quarters(one) for one in maps)])
    decoder = _decoder(shape, halves.bottleneck, widths)
    return Parts(
        autoencoder=keras.Model(images, decoder(code), name="autoencoder"),
        features=keras.Model(images, features, name="features"),
        decoder=decoder,
        halves=halves,
    )


def pooled_features(widths: tuple[int, ...]) -> int:
    """Return how many pooled activations there are to choose a latent's half from."""
    return 4 * sum(widths)


def finish(parts: Parts, bottleneck: Whitening, pooled: Whitening) -> keras.Model:
    """Return the encoder: image to latent, both halves whitened by its last layer."""
    kernel = np.zeros((len(bottleneck.mean) + len(pooled.mean), parts.halves.total))
    kernel[: len(bottleneck.mean), : parts.halves.bottleneck] = bottleneck.forward
    kernel[len(bottleneck.mean) :, parts.halves.bottleneck :] = pooled.forward
    mean = np.concatenate([bottleneck.mean, pooled.mean])
    affine = _affine(kernel, -mean @ kernel, "latents")
    images = keras.Input(parts.features.input_shape[1:], name="images")
    return keras.Model(images, affine(parts.features(images)), name="encoder")


def finish_decoder(parts: Parts, bottleneck: Whitening) -> keras.Model:
    """Return the decoder: latent to image; its first layer undoes the whitening."""
    kernel = np.zeros((parts.halves.total, parts.halves.bottleneck))
    kernel[: parts.halves.bottleneck] = bottleneck.back
    latents = keras.Input((parts.halves.total,), name="latents")
    code = _affine(kernel, bottleneck.mean, "bottleneck")(latents)
    return keras.Model(latents, parts.decoder(code), name="decoder")


def _maps(images: keras.KerasTensor, widths: tuple[int, ...]) -> list:
    maps = []
    for width in widths:
        images = layers.Conv2D(width, 3, strides=2, padding="same", activation="relu")(
            images
        )
        maps.append(images)  # (batch, ceil(h / 2), ceil(w / 2), width)
    return maps


def _quarters(one: keras.KerasTensor) -> keras.KerasTensor:
    """Return the mean of each quarter of a map; odd sizes share their middle row."""
    height, width = one.shape[1:3]
    size = (-(-height // 2), -(-width // 2))
    quarters = layers.AveragePooling2D(size, strides=(height // 2, width // 2))(one)
    return layers.Flatten()(quarters)  # (batch, 4 × width)


def _decoder(shape: ImageShape, numbers: int, widths: tuple[int, ...]) -> keras.Model:
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


def _affine(kernel: np.ndarray, bias: np.ndarray, name: str) -> layers.Dense:
    layer = layers.Dense(kernel.shape[1], trainable=False, name=name)
    layer.build((None, kernel.shape[0]))
    layer.set_weights([kernel.astype(np.float32), bias.astype(np.float32)])
    return layer
