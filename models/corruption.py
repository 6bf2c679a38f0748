"""What is done to an image in training, so that more than copying must be learned."""

from typing import Any

import keras
from keras import ops

BLOCK = 4
"""Pixels of a side of what is hidden at once: single pixels would be guessed."""


class Corruption(keras.layers.Layer):
    """Add noise to images and hide blocks of them, in training only.

    Denoising after Vincent et al. (2008), masking after Pathak et al. (2016) and He et
    al. (2022), whose target is the whole clean image here.

    Attributes:
        noise: Deviation of the Gaussian noise, where pixels have deviation 1.
        mask: Probability that a block is hidden: becomes the mean of all pixels, 0.
    """

    def __init__(self, noise: float = 0.0, mask: float = 0.0, **kwargs: Any) -> None:
        super().__init__(trainable=False, dtype="float32", **kwargs)
        self.noise, self.mask = noise, mask
        self._draws = keras.random.SeedGenerator()
        self.built = True  # it has nothing to build

    def call(self, images: Any, training: bool = False) -> Any:
        """Return ``images``, (n, h, w, c), corrupted if this is training."""
        if not training:
            return images
        if self.noise:
            images = images + keras.random.normal(
                ops.shape(images), stddev=self.noise, seed=self._draws
            )
        return images * self._seen(images) if self.mask else images

    def _seen(self, images: Any) -> Any:
        """Return 0 where a pixel is hidden, else 1: (n, h, w, 1)."""
        height, width = images.shape[1:3]
        blocks = (ops.shape(images)[0], -(-height // BLOCK), -(-width // BLOCK), 1)
        seen = keras.random.uniform(blocks, seed=self._draws) >= self.mask
        seen = ops.repeat(ops.repeat(seen, BLOCK, axis=1), BLOCK, axis=2)
        return ops.cast(seen[:, :height, :width], images.dtype)
