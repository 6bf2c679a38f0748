"""Preset ``resnet``: a residual network that tells two views of an image are one.

He et al. (2016), trained as Bardes, Ponce and LeCun (2022) do: two random views of each
image are to have alike codes, and codes are to differ between images. Beside it a small
decoder paints each view from its features. It wants a GPU: half precision there, and
several GPUs share a batch.

What is read after training: the last stage's mean, and means of quarters of the stages
between the first and the last; and pixels, for the decoder.
"""

from typing import Any, NamedTuple

import keras
from keras import layers, ops

from models import device, pixels, readout, semantic, training
from models.lars import LARS
from models.losses import vicreg
from models.settings import ResNetSettings
from models.spec import ImageShape
from models.task import Candidate, Task
from models.views import UNCHANGED, Colours, Views

FIRST_STAGE = 56
"""Longest side of the first stage's maps: larger images are halved before it."""
PAINTER = 512
"""Width of the small decoder."""


class Parts(NamedTuple):
    """The network, and what is read of it.

    Attributes:
        trunk: Image to the mean of the last stage, float32.
        features: Image to what is read after training: what is seen, and pixels.
    """

    trunk: keras.Model
    features: keras.Model


def fit(task: Task) -> Candidate:
    """Return a trained encoder, and a linear decoder fitted to it."""
    settings, shape = task.encoder, task.data.train.shape
    assert isinstance(settings, ResNetSettings)
    policy = device.precision(settings.precision)
    exported = build(shape, settings, "float32")  # a latent is computed in full
    semantic.groups(exported.features, settings)  # refused before it is trained
    parts = build(shape, settings, policy)
    model = TwoViews(parts.trunk, settings, policy, task.train.seed)
    plan = training.cosine(task.train.learning_rate, training.steps_of(task))
    optimizer = LARS(plan, decay=settings.weight_decay)
    trained = training.train(model, task, device.scaled(optimizer, policy))
    exported.features.set_weights(parts.features.get_weights())
    return Candidate(*semantic.finish(exported.features, settings, task), trained)


class TwoViews(keras.Model):
    """Give two views of an image alike codes, and paint each from its features."""

    def __init__(
        self, trunk: keras.Model, settings: ResNetSettings, policy: str, seed: int
    ) -> None:
        super().__init__()
        self.trunk, self.weight = trunk, settings.reconstruction
        colours = Colours() if settings.colours else UNCHANGED
        area, flip = (settings.least_area, 1.0), 0.5 if settings.flip else 0.0
        self.views = Views(area, colours, flip, seed=seed)
        self.views.build(trunk.input_shape)
        images, numbers = trunk.inputs[0], trunk.output_shape[-1]
        self.small = keras.Model(images, pixels.pixel_features(images))
        self.projector = _projector(numbers, settings.projector, policy)
        self.painter = _painter(numbers, self.small.output_shape[-1], policy)

    def call(self, images: Any, training: bool = False) -> Any:
        """Return codes of both views, their features as painted, and their pixels."""
        pair = ops.stack([self.views(images), self.views(images)], axis=1)
        both = ops.reshape(pair, (-1, *images.shape[1:]))  # views of an image stay near
        features = self.trunk(both, training=training)
        codes = self.projector(features, training=training)
        codes = ops.reshape(codes, (-1, 2, codes.shape[-1]))
        return codes, self.painter(features), self.small(both)

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Return how unlike the views' codes are, and how ill they are painted."""
        codes, painted, pixels_seen = y_pred
        error = ops.square(ops.cast(painted, "float32") - pixels_seen)
        return vicreg(codes[:, 0], codes[:, 1]) + self.weight * ops.mean(error)


def build(shape: ImageShape, settings: ResNetSettings, policy: str) -> Parts:
    """Return the untrained network; its layers compute in ``policy``."""
    images = keras.Input(tuple(shape), name="images")
    stages = [_stem(images, settings.width, policy)]
    for place, count in enumerate(settings.blocks):
        found = stages[-1]
        for block in range(count):
            stride = 2 if place and not block else 1
            found = _residual(found, settings.width << place, stride, policy)
        stages.append(found)  # (n, h / 2^place, w / 2^place, width × 2^place)
    mean = layers.GlobalAveragePooling2D(dtype="float32")(stages[-1])
    read = [mean, *(readout.quarters(one) for one in stages[2:-1])]
    seen = layers.Concatenate()(read) if len(read) > 1 else mean
    return Parts(
        trunk=keras.Model(images, mean, name="trunk"),
        features=semantic.beside_pixels(images, seen),
    )


def _stem(images: keras.KerasTensor, width: int, policy: str) -> keras.KerasTensor:
    """Return the maps before the first stage, halved until they are small enough."""
    halvings, side = 0, max(images.shape[1:3])
    while side > FIRST_STAGE:
        halvings, side = halvings + 1, -(-side // 2)
    found = _convolution(images, width, 3, 2 if halvings else 1, policy)
    for _ in range(halvings - 1):
        found = _convolution(found, width, 3, 2, policy)
    return found


def _residual(
    maps: keras.KerasTensor, channels: int, stride: int, policy: str
) -> keras.KerasTensor:
    found = _convolution(maps, channels, 3, stride, policy)
    found = _convolution(found, channels, 3, 1, policy, activation=None)
    if stride > 1 or maps.shape[-1] != channels:
        maps = _convolution(maps, channels, 1, stride, policy, activation=None)
    return layers.Activation("relu", dtype=policy)(
        layers.Add(dtype=policy)([found, maps])
    )


def _convolution(
    maps: keras.KerasTensor,
    channels: int,
    side: int,
    stride: int,
    policy: str,
    *,
    activation: str | None = "relu",
) -> keras.KerasTensor:
    """Return a convolution of ``maps``, its activations normalised over a batch."""
    maps = layers.Conv2D(
        channels,
        side,
        strides=stride,
        padding="same",
        use_bias=False,
        kernel_initializer="he_normal",
        dtype=policy,
    )(maps)
    maps = _normalised(maps, policy)
    return layers.Activation(activation, dtype=policy)(maps) if activation else maps


def _normalised(values: keras.KerasTensor, policy: str) -> keras.KerasTensor:
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, dtype=policy)(values)


def _projector(numbers: int, widths: tuple[int, ...], policy: str) -> keras.Model:
    """Return what leads from features to the codes that are compared."""
    features = keras.Input((numbers,))
    found = features
    for width in widths[:-1]:
        found = layers.Dense(width, use_bias=False, dtype=policy)(found)
        found = _normalised(found, policy)
        found = layers.Activation("relu", dtype=policy)(found)
    found = layers.Dense(widths[-1], use_bias=False, dtype=policy)(found)
    return keras.Model(features, found, name="projector")


def _painter(numbers: int, pixels_painted: int, policy: str) -> keras.Model:
    """Return the decoder of training: features to pixels of a small copy."""
    features = keras.Input((numbers,))
    found = layers.Dense(PAINTER, activation="relu", dtype=policy)(features)
    found = layers.Dense(pixels_painted, dtype=policy)(found)
    return keras.Model(features, found, name="painter")
