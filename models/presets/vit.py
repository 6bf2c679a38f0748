"""Preset ``vit``: patches of an image, compared by attention; most are hidden.

He et al. (2022): three in four patches of each image are hidden, the encoder sees the
others, and a light decoder is to paint what is hidden. Afterwards the encoder sees all.
What is read is the mean of the tokens in each quarter of the image, which hold their
mean over the whole; and pixels, for the decoder.
"""

from typing import Any, NamedTuple

import keras
from keras import layers, ops

from models import blocks, device, readout, semantic, training
from models.layers import Positions
from models.settings import VitSettings
from models.spec import ImageShape
from models.task import Candidate, Task

WIDENING = 4
"""How much wider a block's dense layer is than its tokens, in the encoder."""
FLATTEST = 1e-6
"""Added to a patch's variance before its contrast is divided out."""
UNDECAYED = ["bias", "gamma", "beta", "places", "token"]
"""Weights that are not drawn to 0."""


class Parts(NamedTuple):
    """The network, and what is read of it.

    Attributes:
        embed: Image to tokens that know their places, (n, tokens, width).
        compare: Any number of tokens to as many, float32.
        features: Image to what is read after training: what is seen, and pixels.
    """

    embed: keras.Model
    compare: keras.Model
    features: keras.Model


def fit(task: Task) -> Candidate:
    """Return a trained encoder, and a linear decoder fitted to it."""
    settings, shape = task.encoder, task.data.train.shape
    assert isinstance(settings, VitSettings)
    policy = device.precision(settings.precision)
    exported = build(shape, settings, "float32")  # a latent is computed in full
    semantic.groups(exported.features, settings)  # refused before it is trained
    parts = build(shape, settings, policy)
    model = Masked(parts, settings, policy, task.train.seed)
    optimizer = keras.optimizers.AdamW(
        training.cosine(task.train.learning_rate, training.steps_of(task)),
        weight_decay=settings.weight_decay,
        beta_2=0.95,
    )
    optimizer.exclude_from_weight_decay(var_names=UNDECAYED)
    trained = training.train(model, task, device.scaled(optimizer, policy))
    exported.features.set_weights(parts.features.get_weights())
    return Candidate(*semantic.finish(exported.features, settings, task), trained)


class Masked(keras.Model):
    """Hide most patches of an image, and paint them from the others."""

    def __init__(
        self, parts: Parts, settings: VitSettings, policy: str, seed: int
    ) -> None:
        super().__init__()
        self.embed, self.compare = parts.embed, parts.compare
        self.patch, self.normalise = settings.patch, settings.normalise_patches
        tokens, channels = parts.embed.output_shape[1], parts.embed.input_shape[-1]
        self.kept = min(max(1, round(tokens * (1 - settings.mask))), tokens - 1)
        self.narrow = layers.Dense(settings.decoder_width, dtype=policy)
        self.narrow.build(parts.compare.output_shape)
        self.placed = Placed(tokens, dtype=policy)
        self.placed.build((None, self.kept, settings.decoder_width))
        size = settings.patch**2 * channels
        self.paint = _painter(tokens, size, settings, policy)
        self._draws = keras.random.SeedGenerator(seed)

    def call(self, images: Any, training: bool = False) -> Any:
        """Return all patches as painted, and 1 where a patch was hidden, else 0."""
        tokens = self.embed(images)  # (n, tokens, width)
        drawn = keras.random.uniform(ops.shape(tokens)[:2], seed=self._draws)
        order = ops.argsort(drawn, axis=1)  # those that are seen come first
        seen = ops.take_along_axis(tokens, order[:, : self.kept, None], axis=1)
        codes = self.narrow(self.compare(seen))  # (n, kept, decoder_width)
        places = ops.argsort(order, axis=1)  # where each patch is in that order
        painted = self.paint(self.placed(codes, places))
        return painted, ops.cast(places >= self.kept, "float32")

    def compute_loss(
        self,
        x: Any = None,
        y: Any = None,
        y_pred: Any = None,
        sample_weight: Any = None,
        training: bool = True,
    ) -> Any:
        """Return the mean squared error of the patches that were hidden."""
        painted, hidden = y_pred
        wanted = patches(x, self.patch)
        if self.normalise:
            mean, variance = ops.moments(wanted, axes=-1, keepdims=True)
            wanted = (wanted - mean) * ops.rsqrt(variance + FLATTEST)
        error = ops.mean(ops.square(ops.cast(painted, "float32") - wanted), axis=-1)
        return ops.sum(error * hidden) / ops.sum(hidden)


class Placed(layers.Layer):
    """Put tokens back to their places; where none was seen stands a learned one."""

    def __init__(self, tokens: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.tokens = tokens

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        self.missing = self.add_weight(
            shape=(1, 1, input_shape[-1]),
            initializer=keras.initializers.TruncatedNormal(stddev=0.02),
            name="token",
        )

    def call(self, codes: Any, places: Any) -> Any:
        """Return all tokens in their places, (n, tokens, width).

        Args:
            codes: Those that were seen, (n, kept, width).
            places: Where each place's token is in ``codes``, or beyond: (n, tokens).
        """
        count, kept, width = ops.shape(codes)
        missing = ops.broadcast_to(self.missing, (count, self.tokens - kept, width))
        found = ops.concatenate([codes, missing], axis=1)
        return ops.take_along_axis(found, places[:, :, None], axis=1)


def build(shape: ImageShape, settings: VitSettings, policy: str) -> Parts:
    """Return the untrained network; its layers compute in ``policy``."""
    images = keras.Input(tuple(shape), name="images")
    maps = layers.Conv2D(
        settings.width, settings.patch, strides=settings.patch, dtype=policy
    )(images)
    rows, columns = maps.shape[1:3]
    tokens = layers.Reshape((rows * columns, settings.width), dtype=policy)(maps)
    embed = keras.Model(images, Positions(dtype=policy)(tokens), name="embed")
    compare = _compare(settings, policy)
    grid = layers.Reshape((rows, columns, settings.width))(compare(embed(images)))
    features = semantic.beside_pixels(images, readout.quarters(grid))
    return Parts(embed, compare, features)


def patches(images: Any, side: int) -> Any:
    """Return the patches of images, row by row: (n, patches, side × side × c)."""
    height, width, channels = images.shape[1:]
    rows, columns = height // side, width // side
    whole = images[:, : rows * side, : columns * side]
    parts = ops.reshape(whole, (-1, rows, side, columns, side, channels))
    parts = ops.transpose(parts, (0, 1, 3, 2, 4, 5))
    return ops.reshape(parts, (-1, rows * columns, side * side * channels))


def _compare(settings: VitSettings, policy: str) -> keras.Model:
    tokens = keras.Input((None, settings.width), name="tokens")
    found = tokens
    for _ in range(settings.depth):
        found = blocks.block(found, settings.heads, WIDENING, policy)
    found = layers.LayerNormalization(dtype="float32")(found)
    return keras.Model(tokens, found, name="compare")


def _painter(tokens: int, size: int, settings: VitSettings, policy: str) -> keras.Model:
    """Return the decoder of training: all tokens to the pixels of their patches."""
    inputs = keras.Input((tokens, settings.decoder_width))
    found = Positions(dtype=policy)(inputs)
    for _ in range(settings.decoder_depth):
        found = blocks.block(found, policy=policy)
    found = layers.LayerNormalization(dtype=policy)(found)
    return keras.Model(inputs, layers.Dense(size, dtype=policy)(found), name="painter")
