"""What is trained by gradient: a coder, a painter, and what is asked of them."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops


class Autoencoder(keras.Model):
    """Squeeze an image into a code, and paint it back.

    Attributes:
        coder: Image to code.
        painter: Code to image.
        corruption: What is done to images in training before the coder sees them.
        terms: What else is asked: each takes images and how they were painted, and
            returns a weighted loss.
    """

    def __init__(
        self,
        coder: keras.Model,
        painter: keras.Model,
        corruption: keras.layers.Layer | None = None,
        terms: Sequence[keras.layers.Layer] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.coder, self.painter = coder, painter
        self.corruption, self.terms = corruption, list(terms)

    def call(self, images: Any, training: bool = False) -> Any:
        """Return ``images``, (n, h, w, c), as they are painted back."""
        if self.corruption is not None:
            images = self.corruption(images, training=training)
        return self.painter(self.coder(images, training=training), training=training)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Return the mean squared error from the clean images, and all other terms.

        Outside training nothing is drawn: the same images always give the same loss.
        """
        painted = ops.cast(y_pred, "float32")
        parts = [ops.mean(ops.square(painted - x)), *self.losses]
        parts += [term(x, painted, training=training) for term in self.terms]
        return sum(parts)
