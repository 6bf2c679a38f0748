"""How fast an encoder is, and how much of what this core can do that is."""

import re
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np

ROUNDS = 3
SIDE = 2048
"""Of the square matrices whose product is the measured peak."""


def cpu_seconds() -> float:
    """Return the CPU seconds of this process and of its children that ended."""
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def rate(encode: Callable[[np.ndarray], Any], pixels: np.ndarray) -> float:
    """Return how many of ``pixels`` a CPU second encodes, the best of some rounds."""
    encode(pixels[:256])
    best = min(_timed(lambda: encode(pixels)) for _ in range(ROUNDS))
    return len(pixels) / best


def peak() -> float:
    """Return the measured float32 matrix peak of this core, in GFLOP/s."""
    rng = np.random.default_rng(0)
    one, other = rng.standard_normal((2, SIDE, SIDE), dtype=np.float32)
    one @ other
    best = min(_timed(lambda: one @ other) for _ in range(2 * ROUNDS))
    return 2e-9 * SIDE**3 / best


def operations(encoder: Any) -> float | None:
    """Return the floating-point operations of one image, counted in the graph.

    A multiplication and an addition count as two. Needs TensorFlow's backend; without
    it nothing is known.
    """
    import keras

    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    spec = tf.TensorSpec((1, *encoder.input_shape[1:]), tf.float32)
    traced = tf.function(lambda images: encoder(images, training=False))
    graph = traced.get_concrete_function(spec).graph
    options = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    options["output"] = "none"
    found = tf.compat.v1.profiler.profile(graph, cmd="op", options=options)
    # TensorFlow counts an Einsum as nothing.
    sums = [one for one in graph.get_operations() if one.type == "Einsum"]
    return float(found.total_float_ops + sum(_einsum(one) for one in sums))


def _einsum(operation: Any) -> int:
    names = re.split(",|->", operation.get_attr("equation").decode())
    sides: dict[str, int] = {}
    for letters, value in zip(names, operation.inputs, strict=False):
        sides |= dict(zip(letters, value.shape.as_list(), strict=True))
    return 2 * int(np.prod(list(sides.values())))


def _timed(work: Callable[[], Any]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start
