"""The presets, by name."""

from collections.abc import Callable
from typing import NamedTuple

import keras

from models.presets import conv
from models.presets.parts import Halves, Parts
from models.spec import ImageShape
from models.whitening import Whitening


class Preset(NamedTuple):
    """How an architecture is built, and finished once it is trained.

    Attributes:
        build: Shape, halves and widths to the untrained parts.
        pooled_features: Widths to the count of pooled activations there are.
        encoder: Parts and the whitening of both halves to the finished encoder.
        decoder: Parts and the bottleneck's whitening to the finished decoder.
    """

    build: Callable[[ImageShape, Halves, tuple[int, ...]], Parts]
    pooled_features: Callable[[tuple[int, ...]], int]
    encoder: Callable[[Parts, Whitening, Whitening], keras.Model]
    decoder: Callable[[Parts, Whitening], keras.Model]


PRESETS = {
    "conv": Preset(conv.build, conv.pooled_features, conv.finish, conv.finish_decoder),
}


def find(name: str) -> Preset:
    """Return the preset of this name.

    Raises:
        ValueError: There is none; the message lists those there are.
    """
    if name not in PRESETS:
        raise ValueError(f"preset {name!r}: there are {', '.join(sorted(PRESETS))}.")
    return PRESETS[name]
