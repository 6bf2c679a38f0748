"""What a device can compute at most, and what a model asks of it."""

import math
import time

import keras
import numpy as np
from keras import layers, ops

PRODUCTS = 10
"""Products of matrices that are timed at once."""
ROUNDS = 5


def peak(side: int, kind: str) -> float:
    """Return the FLOP/s of large products in ``kind``: the best of some rounds."""
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, side, side)).astype(np.float32)
    left, right = (ops.cast(ops.array(one), kind) for one in values)
    right = right / side**0.5
    best = 0.0
    for _ in range(ROUNDS + 1):  # the first one compiles
        begin, found = time.perf_counter(), left
        for _ in range(PRODUCTS):
            found = ops.matmul(found, right)
        float(ops.sum(ops.cast(found[:1, :1], "float32")))  # waits for the device
        best = max(best, PRODUCTS * 2 * side**3 / (time.perf_counter() - begin))
    return best


def macs(model: keras.Model) -> int:
    """Return the multiplications of one image's forward pass."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            total += macs(layer)
        elif isinstance(layer, layers.Conv2D):
            total += math.prod(layer.kernel.shape) * math.prod(layer.output.shape[1:3])
        elif isinstance(layer, layers.Dense):
            total += math.prod(layer.kernel.shape)
    return total
