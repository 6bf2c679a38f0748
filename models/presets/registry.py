"""The presets, by name."""

from collections.abc import Callable

from models.presets import conv, fusion, instance, patch, resnet, vit
from models.task import Candidate, Task

Preset = Callable[[Task], Candidate]
"""Fits an encoder and its decoder: by gradient, or in closed form."""

PRESETS: dict[str, Preset] = {
    "conv": conv.fit,
    "fusion": fusion.fit,
    "instance": instance.fit,
    "patch": patch.fit,
    "resnet": resnet.fit,
    "vit": vit.fit,
}


def find(name: str) -> Preset:
    """Return the preset of this name.

    Raises:
        ValueError: There is none; the message lists those there are.
    """
    if name not in PRESETS:
        raise ValueError(f"preset {name!r}: there are {', '.join(sorted(PRESETS))}.")
    return PRESETS[name]
