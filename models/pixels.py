"""Pixels in a latent: what of an image can be painted back, and how, in closed form.

For presets that have no decoder of their own. Whitened principal components of a small
copy of the image are part of the latent; a linear map from the whole latent paints the
small copy, which is then brought to the image's own size.
"""

import keras
import numpy as np
import scipy.linalg
from keras import layers

from models import device, readout
from models.spec import ImageShape
from models.sums import Terms
from models.task import Task
from models.training import JUDGED

LONGEST = 32
"""The longer side of the small copy, at most: bounds what the decoder weighs."""


def pixel_features(images: keras.KerasTensor) -> keras.KerasTensor:
    """Return the pixels of a small copy of ``images``, (n, pixels).

    Args:
        images: A symbolic batch, (n, height, width, channels).
    """
    factor = _factor(*images.shape[1:3])
    if factor > 1:  # a window over the edge takes the mean of what lies within
        images = layers.AveragePooling2D(factor, padding="same")(images)
    return layers.Flatten()(images)


def fitted(
    encoder: keras.Model, task: Task, most: int | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return kernel and bias of the decoder: latent to small copy.

    Args:
        encoder: Normalised image to latent.
        task: Says which images, and who adds up over them.
        most: Training images that are looked at (all: ``None``).
    """
    return solve(task.summed(Products(encoder), task.data.train, most))


def losses(encoder: keras.Model, painter: keras.Model, task: Task) -> list[np.ndarray]:
    """Return the mean squared error of painted images: training, and any held out."""
    errors, data = SquaredErrors(encoder, painter), task.data
    totals = [
        task.summed(errors, examples, JUDGED)
        for examples in (data.train, data.held_out)
        if len(examples)
    ]
    return [total / count for count, total in totals]


class SquaredErrors:
    """Count, and sum of the mean squared errors of painted images: a statistic."""

    def __init__(self, encoder: keras.Model, painter: keras.Model) -> None:
        images = keras.Input(encoder.input_shape[1:], name="images")
        self._whole = device.settle(keras.Model(images, painter(encoder(images))))

    def terms(self, images: np.ndarray) -> Terms:
        """Return how many images there are, and the sum of their errors."""
        (painted,) = readout.predicted(self._whole, images)
        gaps = np.square(painted.astype(np.float64) - images).mean(axis=(1, 2, 3))
        return np.array(float(len(images))), gaps.sum()


class Products:
    """Count, sums and products of latents and small copies: a statistic of images."""

    def __init__(self, encoder: keras.Model) -> None:
        images = keras.Input(encoder.input_shape[1:], name="images")
        outputs = [encoder(images), pixel_features(images)]
        self._both = device.settle(keras.Model(images, outputs))

    def terms(self, images: np.ndarray) -> Terms:
        """Return count, sums of latents and pixels, latents × latents and × pixels."""
        found = readout.predicted(self._both, images)
        latents, pixels = (one.astype(np.float64) for one in found)
        return (
            np.array(float(len(images))),
            latents.sum(axis=0),
            pixels.sum(axis=0),
            latents.T @ latents,
            latents.T @ pixels,
        )


def solve(products: Terms, ridge: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Return kernel and bias of the ridge regression of pixels on latents.

    Hoerl and Kennard (1970), "Ridge regression".

    Args:
        products: The total of :class:`Products`.
        ridge: How many images the wish for small weights counts for: it matters where
            there are few images, and vanishes where there are many.
    """
    count, latents, pixels, squares, both = products
    mean, middle = latents / count, pixels / count
    spread = squares / count - np.outer(mean, mean)
    shared = both / count - np.outer(mean, middle)
    size = len(spread)
    least = np.finfo(np.float32).eps  # a latent that never moves takes no weight
    weight = (ridge / count + least) * max(np.trace(spread) / size, least)
    kernel = scipy.linalg.solve(spread + weight * np.eye(size), shared, assume_a="pos")
    return kernel, middle - mean @ kernel


def decoder(kernel: np.ndarray, bias: np.ndarray, shape: ImageShape) -> keras.Model:
    """Return the decoder: latent to small copy to normalised image of ``shape``."""
    factor = _factor(shape.height, shape.width)
    small = [-(-side // factor) for side in (shape.height, shape.width)]
    latents = keras.Input((len(kernel),), name="latents")
    image = readout.affine(kernel, bias, "pixels")(latents)
    image = layers.Reshape((*small, shape.channels))(image)
    if factor > 1:
        image = layers.UpSampling2D(factor, interpolation="bilinear")(image)
    over = [
        side * factor - whole
        for side, whole in zip(small, (shape.height, shape.width), strict=True)
    ]
    if any(over):  # as much on either side as the pooling took from beyond the edge
        crop = tuple((one // 2, one - one // 2) for one in over)
        image = layers.Cropping2D(crop)(image)
    return device.settle(keras.Model(latents, image, name="decoder"))


def _factor(height: int, width: int) -> int:
    return -(-max(height, width) // LONGEST)
