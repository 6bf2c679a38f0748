"""Blocks that encoders are made of, in Keras' own layers as far as there are any."""

import keras
from keras import layers

from models.layers import Positions

HEADS = 4
"""Each has a part of the channels to compare tokens by."""


def transformer(maps: keras.KerasTensor, blocks: int) -> keras.KerasTensor:
    """Return ``maps`` after some transformer blocks, in which places see each other.

    Vaswani et al. (2017), with the normalisation before each part (Xiong et al., 2020)
    and places learned as in Dosovitskiy et al. (2021). What the blocks add is added to
    the maps as they are, so that the convolutions' own activations are still there.

    Args:
        maps: A symbolic batch, (n, height, width, channels).
        blocks: How many; none returns the maps.
    """
    if not blocks:
        return maps
    height, width, channels = maps.shape[1:]
    tokens = layers.Reshape((height * width, channels))(maps)
    tokens = Positions()(tokens)
    for _ in range(blocks):
        tokens = _block(tokens)
    return layers.Reshape((height, width, channels))(tokens)


def _block(tokens: keras.KerasTensor) -> keras.KerasTensor:
    channels = tokens.shape[-1]
    normal = layers.LayerNormalization()(tokens)
    seen = layers.MultiHeadAttention(HEADS, max(1, channels // HEADS))(normal, normal)
    tokens = layers.Add()([tokens, seen])
    normal = layers.LayerNormalization()(tokens)
    wide = layers.Dense(2 * channels, activation="gelu")(normal)
    return layers.Add()([tokens, layers.Dense(channels)(wide)])
