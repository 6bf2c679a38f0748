"""The rows of the scoreboard: one line for each thing that is judged."""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from pydantic import TypeAdapter, ValidationError

from models.section import TrainSettings
from models.settings import PRESETS, EncoderSettings, FusionSettings


class Unknown(Exception):
    """A row asks for what the presets do not offer; the message says what."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One thing that is judged.

    Attributes:
        name: Of the row and its folder.
        kind: Raw pixels, PCA, JPEG, or a preset of ``models``.
        options: What a dataset's ``[encoder]`` would say.
        train: What its ``[train]`` would say.
        seeds: One run each.
        datasets: Where it is judged; everywhere if empty.
    """

    name: str
    kind: Literal["raw", "pca", "jpeg", "preset"]
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    train: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    seeds: tuple[int, ...] = (0, 1, 2)
    datasets: tuple[str, ...] = ()

    def encoder(self) -> EncoderSettings:
        """Return the checked settings of its encoder.

        Raises:
            Unknown: There is no such preset, or it lacks an option.
        """
        name = self.options.get("preset")
        if name not in PRESETS:
            raise Unknown(f"there is no preset {name!r}")
        try:
            return TypeAdapter(EncoderSettings).validate_python(dict(self.options))
        except ValidationError as error:
            raise Unknown(f"preset {name!r}: {error}") from error

    def training(self, seed: int) -> TrainSettings:
        """Return how it is trained with ``seed``."""
        usual = PRESETS[self.options["preset"]].TRAIN
        return TrainSettings(**{**usual, **self.train, "seed": seed})

    def settings(self, seed: int) -> dict[str, Any]:
        """Return all that its figures depend on, code and data aside."""
        if self.kind != "preset":
            return {"kind": self.kind, **self.options}
        encoder, train = self.encoder(), self.training(seed)
        found: dict[str, Any] = {
            "kind": self.kind,
            "encoder": encoder.model_dump(mode="json"),
            "train": train.model_dump(mode="json"),
        }
        if isinstance(encoder, FusionSettings):
            parts = [one for pair in encoder.parts(train) for one in pair]
            found["parts"] = [one.model_dump(mode="json") for one in parts]
        return found

    def presets(self) -> list[str]:
        """Return the presets whose code makes its encoder; none of raw pixels, say."""
        if self.kind != "preset":
            return []
        encoder = self.encoder()
        parts = encoder.presets if isinstance(encoder, FusionSettings) else ()
        return [encoder.preset, *parts]


ONE = (0,)
"""For what has no randomness to speak of, and for variants of a preset."""

CIFAR = ("cifar10",)


ROWS = (
    Row("raw", "raw", seeds=ONE),
    Row("pca-128", "pca", {"latent_dim": 128}, seeds=ONE),
    Row("pca-512", "pca", {"latent_dim": 512}, seeds=ONE),
    Row("conv", "preset", {"preset": "conv"}),
    Row(
        "conv-bare",
        "preset",
        {"preset": "conv", "pooled_share": 0.0},
        seeds=ONE,
        datasets=CIFAR,
    ),
    Row(
        "conv-512",
        "preset",
        {"preset": "conv", "latent_dim": 512},
        seeds=ONE,
        datasets=CIFAR,
    ),
    Row("instance", "preset", {"preset": "instance"}),
    Row(
        "instance-hour",
        "preset",
        {"preset": "instance"},
        {"epochs": 120},
        datasets=CIFAR,
    ),
    Row("patch", "preset", {"preset": "patch"}),
    Row(
        "patch-800",
        "preset",
        {"preset": "patch", "atoms": 800},
        seeds=ONE,
        datasets=CIFAR,
    ),
    Row("fusion", "preset", {"preset": "fusion"}, seeds=ONE, datasets=CIFAR),
    Row(
        "fusion-instance",
        "preset",
        {"preset": "fusion", "presets": ("instance", "patch")},
        seeds=ONE,
        datasets=CIFAR,
    ),
    Row(
        "fusion-1024",
        "preset",
        {"preset": "fusion", "presets": ("instance", "patch"), "latent_dim": 1024},
        seeds=ONE,
        datasets=CIFAR,
    ),
    Row(
        "vit-cpu",
        "preset",
        {"preset": "vit", "width": 96, "depth": 4}
        | {"decoder_depth": 1, "decoder_width": 48},
        {"epochs": 10},
        seeds=ONE,
        datasets=CIFAR,
    ),
    Row(
        "resnet-cpu",
        "preset",
        {"preset": "resnet", "width": 16, "blocks": (1, 1, 1, 1)}
        | {"projector": (256, 256, 256)},
        {"epochs": 5},
        seeds=ONE,
        datasets=CIFAR,
    ),
    Row("jpeg", "jpeg", seeds=ONE),
)


def find(name: str) -> Row:
    """Return the row of this name."""
    return next(row for row in ROWS if row.name == name)
