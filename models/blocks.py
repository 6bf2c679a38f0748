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
        tokens = block(tokens)
    return layers.Reshape((height, width, channels))(tokens)


def block(
    tokens: keras.KerasTensor,
    heads: int = HEADS,
    widening: int = 2,
    policy: str | None = None,
) -> keras.KerasTensor:
    """Return ``tokens`` after one transformer block.

    Args:
        tokens: A symbolic batch, (n, tokens, channels).
        heads: How many share the channels.
        widening: How much wider the layer is between the two dense ones.
        policy: The dtype policy of the layers; by default Keras' own.
    """
    channels, size = tokens.shape[-1], max(1, tokens.shape[-1] // heads)
    normal = layers.LayerNormalization(dtype=policy)(tokens)
    attention = layers.MultiHeadAttention(heads, size, dtype=policy)
    tokens = layers.Add(dtype=policy)([tokens, attention(normal, normal)])
    normal = layers.LayerNormalization(dtype=policy)(tokens)
    wide = layers.Dense(widening * channels, activation="gelu", dtype=policy)(normal)
    wide = layers.Dense(channels, dtype=policy)(wide)
    return layers.Add(dtype=policy)([tokens, wide])
