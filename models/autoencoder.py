"""What is trained by gradient: a coder, a painter, and what is asked of them."""

from typing import Any

import keras
from keras import ops


class Autoencoder(keras.Model):
    """Squeeze an image into a code, and paint it back.

    Attributes:
        coder: Image to code.
        painter: Code to image.
    """

    def __init__(self, coder: keras.Model, painter: keras.Model, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.coder, self.painter = coder, painter

    def call(self, images: Any, training: bool = False) -> Any:
        """Return ``images``, (n, h, w, c), as they are painted back."""
        return self.painter(self.coder(images, training=training), training=training)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Return the mean squared error of the painted images."""
        return ops.mean(ops.square(ops.cast(y_pred, "float32") - x))
