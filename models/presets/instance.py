"""Preset ``instance``: a few convolutions that know each image, begun in closed form.

Three steps, no labels. The *stem* is what preset ``patch`` learns in closed form: a
dictionary of whitened patches and a slow map of its codes. The *trunk* is three
convolutions on the stem's map. Both are trained to tell images apart by random views of
them (``models/instances.py``); the memory of images begins as the stem's own code, so
that there is something to agree with from the first step on. The *latent* is read from
stem and trunk together, whitened, beside principal components of pixels for the linear
decoder.
"""

from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
from keras import layers

from models import device, instances, readout, semantic, training
from models.dictionary import Dictionary
from models.instances import Discriminator
from models.presets import patch
from models.settings import InstanceSettings
from models.spec import ImageShape
from models.task import Candidate, Task
from models.views import UNCHANGED, Colours, Views
from models.whitening import whiten

REMEMBERED = 128
"""Numbers of a code, and of what is remembered of an image."""
COLOURS = Colours(0.4, 0.4, 0.4, 0.3, 1.0, 0.15)
CALIBRATED = 2_000
"""Training images whose statistics stand in the trunk's normalisation at the end."""
AVERAGED = 0.995
"""Momentum of the running mean of weights, which is what is kept of them."""
FORGOTTEN = 10.0
"""The mean forgets the first weights at least so many times over: e to this power."""
WARM_UP = 0.01
"""Part of the steps in which the learning rate rises."""
EPSILON = 1e-5
AT_ONCE = 64
"""Images whose maps are held at once: more do not fit into a core's cache."""


def fit(task: Task) -> Candidate:
    """Return an encoder trained to tell images apart, and a linear decoder."""
    settings, shape = task.encoder, task.data.train.shape
    assert isinstance(settings, InstanceSettings)
    atoms = patch.learn_dictionary(task)
    codes = patch.build_codes(shape, settings, atoms)
    slow = patch.learn_slow_map(codes, task)
    stem = build_stem(shape, settings, atoms, slow)
    trunk = build_trunk(stem.output_shape[-1], settings)
    features = read_out(shape, settings, stem, trunk)
    semantic.groups(features, settings)  # refused before anything is trained
    memory = first_memory(stem, task)
    model = Discriminator(
        build_views(shape, settings, task.train.seed),
        stem,
        with_head(trunk, memory.shape[1]),
        settings.temperature,
    )
    model.remember(memory, min(training.batch_size(task), len(task.data.train)))
    trained = instances.train(model, task, _optimizer(model, trunk, task))
    calibrate(stem, trunk, task)
    features = read_out(shape, settings, stem, folded(trunk, settings))
    return Candidate(*semantic.finish(features, settings, task), trained)


def _optimizer(
    model: Discriminator, trunk: keras.Model, task: Task
) -> keras.optimizers.Optimizer:
    """Return AdamW; the trunk's kernels alone decay, which nothing else bounds."""
    settings = task.encoder
    assert isinstance(settings, InstanceSettings)
    steps = task.train.epochs * (len(task.data.train) // model.codes.shape[0])
    optimizer = keras.optimizers.AdamW(
        training.cosine(task.train.learning_rate, steps, WARM_UP),
        weight_decay=settings.weight_decay,
        beta_2=0.99,
        use_ema=True,
        ema_momentum=max(0.0, min(AVERAGED, 1.0 - FORGOTTEN / steps)),
    )
    kernels = {id(one) for one in trunk.trainable_variables if one.name == "kernel"}
    rest = [one for one in model.trainable_variables if id(one) not in kernels]
    optimizer.exclude_from_weight_decay(var_list=rest)
    return optimizer


def build_stem(
    shape: ImageShape,
    settings: InstanceSettings,
    atoms: Dictionary,
    slow: tuple[np.ndarray, np.ndarray],
) -> keras.Model:
    """Return the model: image to the stem's map, (n, rows, columns, slow features).

    It takes images of any size. Dictionary and slow map begin as they were learned in
    closed form, and are trained on; the components of patches stay.
    """
    policy = device.precision(settings.precision, wide=True)
    images = keras.Input((None, None, shape.channels), name="images")
    codes = patch.coded(images, settings, atoms, policy)
    kernel, bias = slow
    found = patch.frozen(kernel[None, None], bias, name="slow", dtype=policy)(codes)
    found = layers.UnitNormalization(dtype="float32")(found)
    stem = device.settle(keras.Model(images, found, name="stem"))
    for name in ("atoms", "slow"):
        stem.get_layer(name).trainable = True
    return stem


def build_trunk(channels: int, settings: InstanceSettings) -> keras.Model:
    """Return the untrained trunk: the stem's map to the map of each convolution."""
    policy = device.precision(settings.precision, wide=True)
    inputs = keras.Input((None, None, channels))
    maps = [inputs]
    for place, width in enumerate(settings.trunk):
        found = layers.Conv2D(
            width,
            **_form(place, settings),
            use_bias=False,
            kernel_initializer="he_normal",
            dtype=policy,
            name=f"conv{place}",
        )(maps[-1])
        found = layers.BatchNormalization(
            epsilon=EPSILON, dtype=policy, name=f"norm{place}"
        )(found)
        found = layers.Activation("relu", dtype=policy)(found)
        maps.append(_added(maps[-1], found, place, policy))
    return keras.Model(inputs, maps[1:], name="trunk")


def _form(place: int, settings: InstanceSettings) -> dict[str, Any]:
    """Return the form of a convolution: the first one halves, the last one mixes."""
    last = place == len(settings.trunk) - 1
    return {
        "kernel_size": 1 if last else 3,
        "strides": 2 if place == 0 else 1,
        "padding": "same",
    }


def _added(before: Any, found: Any, place: int, policy: str) -> Any:
    if place == 0 or before.shape[-1] != found.shape[-1]:
        return found
    return layers.Add(dtype=policy)([before, found])


def with_head(trunk: keras.Model, numbers: int) -> keras.Model:
    """Return the model: the stem's map to a code that is compared with memories."""
    mean = layers.GlobalAveragePooling2D(dtype="float32")(trunk.outputs[-1])
    code = layers.Dense(numbers, dtype="float32")(mean)
    return keras.Model(trunk.input, code, name="head")


def build_views(
    shape: ImageShape, settings: InstanceSettings, seed: int
) -> keras.Model:
    """Return the model: image to a random view of it."""
    images = keras.Input(tuple(shape), name="images")
    small = patch.shrunk(images, settings)
    least = settings.least_side() / min(small.shape[1:3])  # a view has a stem to fit
    views = Views(
        (settings.least_area, 1.0),
        COLOURS if settings.colours else UNCHANGED,
        0.5 if settings.flip else 0.0,
        max(settings.view_scale, min(1.0, least)),
        seed,
    )
    return keras.Model(images, views(small), name="views")


def first_memory(stem: keras.Model, task: Task) -> np.ndarray:
    """Return what the memory begins with: the stem's own code of each image.

    Averaged over the image and its mirror image, its leading principal components
    scaled to the root of their deviations, of length 1.
    """
    settings, train = task.encoder, task.data.train
    assert isinstance(settings, InstanceSettings)
    images = keras.Input(tuple(train.shape), name="images")
    seen = stem(patch.shrunk(images, settings))
    pooled = layers.Flatten()(patch.in_grid(seen, settings.grid))
    model = device.settle(keras.Model(images, pooled))

    def codes(rows: np.ndarray) -> Iterator[np.ndarray]:
        for batch in train.batches(AT_ONCE, rows):
            (found,) = readout.predicted(model, batch.images)
            if settings.flip:
                found = found + readout.predicted(model, batch.images[:, :, ::-1])[0]
            yield found.astype(np.float32)

    order = train.order(task.train.seed, 0)
    sample, rest = (
        np.sort(rows) for rows in np.split(order, [min(readout.WHITENED, len(order))])
    )
    known = np.concatenate(list(codes(sample)))
    covariance = np.cov(known.T, bias=True)
    found = whiten(known.mean(axis=0), covariance, min(REMEMBERED, len(covariance)))
    deviations = np.linalg.norm(found.back, axis=1)
    kernel = (found.forward * np.sqrt(deviations)).astype(np.float32)
    mean = found.mean.astype(np.float32)
    memory = np.empty((len(train), kernel.shape[1]), np.float32)
    memory[sample] = (known - mean) @ kernel
    at = 0
    for one in codes(rest):
        memory[rest[at : at + len(one)]] = (one - mean) @ kernel
        at += len(one)
    return memory / np.maximum(np.linalg.norm(memory, axis=1, keepdims=True), 1e-12)


def calibrate(stem: keras.Model, trunk: keras.Model, task: Task) -> None:
    """Normalise by whole images from now on: in training they were views of them."""
    settings = task.encoder
    assert isinstance(settings, InstanceSettings)
    rows = np.sort(task.data.train.order(task.train.seed, 0)[:CALIBRATED])
    images = keras.Input(tuple(task.data.train.shape), name="images")
    seen = device.settle(keras.Model(images, stem(patch.shrunk(images, settings))))
    maps = np.concatenate(
        [
            readout.predicted(seen, batch.images)[0]
            for batch in task.data.train.batches(AT_ONCE, rows)
        ]
    )
    for layer in trunk.layers:
        if isinstance(layer, layers.BatchNormalization):
            layer.momentum = 0.0  # what is seen next is all that counts
    trunk(maps, training=True)


def folded(trunk: keras.Model, settings: InstanceSettings) -> keras.Model:
    """Return the trunk with each normalisation folded into its convolution."""
    policy = device.precision(settings.precision, wide=True)
    inputs = keras.Input(trunk.input_shape[1:])
    maps = [inputs]
    for place in range(len(settings.trunk)):
        (kernel,) = trunk.get_layer(f"conv{place}").get_weights()
        scale, shift, mean, variance = trunk.get_layer(f"norm{place}").get_weights()
        scale = scale / np.sqrt(variance + EPSILON)
        form = _form(place, settings)
        found = patch.frozen(
            kernel * scale,
            shift - mean * scale,
            strides=form["strides"],
            padding="same",
            activation="relu",
            dtype=policy,
            name=f"conv{place}",
        )(maps[-1])
        maps.append(_added(maps[-1], found, place, policy))
    return keras.Model(inputs, maps[1:], name="trunk")


def read_out(
    shape: ImageShape, settings: InstanceSettings, stem: keras.Model, trunk: keras.Model
) -> keras.Model:
    """Return the model: image to what stem and trunk see of it, and to its pixels."""
    images = keras.Input(tuple(shape), name="images")
    seen = stem(patch.shrunk(images, settings))
    *maps, last = trunk(seen)
    read = [layers.Flatten()(patch.in_grid(seen, settings.grid))]
    read += [readout.quarters(one) for one in maps]
    read.append(layers.GlobalAveragePooling2D(dtype="float32")(last))
    found = layers.Concatenate(dtype="float32")(read)
    return semantic.beside_pixels(images, found)
