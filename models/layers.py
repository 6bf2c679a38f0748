"""Layers of our own that an artefact may hold: Keras has none like them."""

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="models")
class Positions(keras.layers.Layer):
    """Add to each token what is learned of its place: they are a set without it."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.places = self.add_weight(
            shape=input_shape[1:],
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            name="places",
        )

    def call(self, tokens: Any) -> Any:
        """Return ``tokens``, (n, tokens, channels), each with its place added."""
        return tokens + self.places


@keras.saving.register_keras_serializable(package="models")
class ContrastNormalization(keras.layers.Layer):
    """Divide principal components of a patch by the deviation of its values.

    Attributes:
        values: The numbers in a patch.
        floor: Added to their variance: faint patches are not blown up.
    """

    def __init__(self, values: int, floor: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.values, self.floor = values, floor

    def call(self, components: Any) -> Any:
        """Return ``components``, (n, h, w, components), of patches without a mean."""
        squares = keras.ops.sum(keras.ops.square(components), axis=-1, keepdims=True)
        return components * keras.ops.rsqrt(squares / self.values + self.floor)

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"values": self.values, "floor": self.floor}


@keras.saving.register_keras_serializable(package="models")
class SoftThreshold(keras.layers.Layer):
    """Part what is above a threshold from what is below its negative.

    Coates and Ng (2011): twice as many numbers, none of them negative.
    """

    def __init__(self, threshold: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.threshold = threshold

    def call(self, values: Any) -> Any:
        """Return ``values``, (n, h, w, c), in two halves, (n, h, w, 2 × c)."""
        halves = [values - self.threshold, -values - self.threshold]
        return keras.ops.relu(keras.ops.concatenate(halves, axis=-1))

    def get_config(self) -> dict[str, Any]:
        return super().get_config() | {"threshold": self.threshold}
