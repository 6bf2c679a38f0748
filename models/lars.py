"""The optimizer of the published recipe for two views."""

from typing import Any

import keras
from keras import ops


class LARS(keras.optimizers.SGD):
    """SGD with momentum, each layer's step bounded by the size of its weights.

    You, Gitman and Ginsburg (2017), clipped: no layer steps further than plain SGD
    would. Weight decay and bound are for matrices and kernels; biases and the scales
    of normalisation are stepped as they are.
    """

    def __init__(
        self,
        learning_rate: Any,
        momentum: float = 0.9,
        decay: float = 1e-4,
        trust: float = 0.02,
    ) -> None:
        """Take settings.

        Args:
            learning_rate: A number, or a plan of it.
            momentum: Share of the last step that is taken again.
            decay: Weight decay, part of the gradient.
            trust: Length of a step, as a share of the weights' norm, at most.
        """
        super().__init__(learning_rate, momentum, name="lars")
        self.decay, self.trust = decay, trust

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """Step along the gradient, bounded."""
        if len(variable.shape) > 1:
            weights, slope = _norm(variable), _norm(gradient)
            bound = self.trust * weights / (slope + self.decay * weights + 1e-8)
            share = ops.minimum(bound / ops.maximum(learning_rate, 1e-8), 1.0)
            gradient = (gradient + self.decay * variable) * share
        super().update_step(gradient, variable, learning_rate)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        kept = {name: config[name] for name in ("learning_rate", "momentum")}
        return kept | {"decay": self.decay, "trust": self.trust}


def _norm(values: Any) -> Any:
    return ops.sqrt(ops.sum(ops.square(values)))
