"""The transform's graph in TensorFlow: how it is written, fitted and run.

Statistics are sums of whole numbers, so they do not depend on the order in which
batches are added up: the same images give the same transform, to the last bit.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import tensorflow as tf
import tensorflow_transform as tft
from tensorflow_metadata.proto.v0 import schema_pb2
from tfx_bsl.tfxio import tensor_adapter

from models.spec import IMAGE, ImageShape

GRAPH_VERSION = 1
"""Another number is another transform: raise it when the graph changes."""
GREY_LEVELS = 255.0
LEAST_DEVIATION = 1.0 / GREY_LEVELS
"""A standard deviation under one grey level counts as one grey level."""
INPUT_SCHEMA = pa.schema([(IMAGE, pa.list_(pa.binary()))])
INPUT_SPEC = {IMAGE: tf.TensorSpec([None], tf.string)}

Preprocess = Callable[[Mapping[str, Any]], dict[str, Any]]


def input_config() -> tensor_adapter.TensorAdapterConfig:
    """Return how TFT reads our record batches: one string of raw pixels an image."""
    representation = schema_pb2.TensorRepresentation()
    representation.dense_tensor.column_name = IMAGE
    return tensor_adapter.TensorAdapterConfig(INPUT_SCHEMA, {IMAGE: representation})


def record_batch(pixels: np.ndarray) -> pa.RecordBatch:
    """Return ``pixels`` (n, height, width, channels) as TFT's input, uncopied."""
    count = len(pixels)
    size = pixels[0].size
    each = np.arange(count + 1, dtype=np.int32)
    offsets = pa.py_buffer(each * np.int32(size))
    buffers = [None, offsets, pa.py_buffer(np.ascontiguousarray(pixels))]
    images = pa.Array.from_buffers(pa.binary(), count, buffers)
    column = pa.ListArray.from_arrays(pa.array(each), images)
    return pa.RecordBatch.from_arrays([column], schema=INPUT_SCHEMA)


def preprocessing_fn(shape: ImageShape, normalise: str) -> Preprocess:
    """Return TFT's function: (pixel / 255 - mean) / standard deviation.

    ``normalise`` says whose mean it is: ``per_channel`` or ``per_pixel``.
    """
    per_channel = normalise == "per_channel"
    spread = shape.height * shape.width if per_channel else 1

    def add_up(values: Any) -> Any:
        """Return the exact sums of ``values`` (n, pixels), flat."""
        total = tf.cast(tf.reduce_sum(values, axis=0), tf.int64)
        if per_channel:
            total = tf.reduce_sum(tf.reshape(total, [-1, shape.channels]), axis=0)
        return total

    def preprocess(inputs: Mapping[str, Any]) -> dict[str, Any]:
        pixels = tf.cast(tf.io.decode_raw(inputs[IMAGE], tf.uint8), tf.int32)
        pixels = tf.reshape(pixels, [-1, shape.size])
        images = tf.cast(tf.shape(pixels)[:1], tf.int64)
        batch = tf.concat([images, add_up(pixels), add_up(tf.square(pixels))], axis=0)
        # One analyzer for all sums: each one costs its share of a Beam job.
        sums = tft.sum(batch[tf.newaxis], reduce_instance_dims=False, name="sums")
        sums = tf.cast(sums, tf.float64)
        size = shape.channels if per_channel else shape.size
        around = [1, 1, shape.channels] if per_channel else list(shape)
        count = sums[0] * (spread * GREY_LEVELS)
        mean = tf.reshape(sums[1 : 1 + size], around) / count
        squares = tf.reshape(sums[1 + size :], around) / (count * GREY_LEVELS)
        variance = tf.maximum(squares - tf.square(mean), LEAST_DEVIATION**2)
        values = tf.reshape(tf.cast(pixels, tf.float32), [-1, *shape]) / GREY_LEVELS
        values = values - tf.cast(mean, tf.float32)
        return {IMAGE: values / tf.cast(tf.sqrt(variance), tf.float32)}

    return preprocess


def load(folder: str) -> Callable[[np.ndarray], np.ndarray]:
    """Return the saved graph in ``folder`` as a function of ``uint8`` images."""
    module = tf.saved_model.load(os.fspath(folder))
    signature = module.signatures["serving_default"]
    (name,) = signature.structured_input_signature[1]

    def apply(pixels: np.ndarray) -> np.ndarray:
        strings = [image.tobytes() for image in pixels]
        values: np.ndarray = signature(**{name: tf.constant(strings)})[IMAGE].numpy()
        return values

    apply.module = module  # type: ignore[attr-defined]  # keeps its variables alive
    return apply
