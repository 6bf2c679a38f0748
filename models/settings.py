"""What a person may choose of an encoder: one frozen class for each preset.

Each field becomes a flag by itself, and the text beneath it its explanation. Nothing
heavy is imported: the command line reads this file before any engine.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0.0)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]


class Section(BaseModel):
    """A part of a dataset's settings: frozen, and closed to unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True
    )


class TrainSettings(Section):
    """How the encoder is trained."""

    epochs: Positive = 15
    """Passes over the training examples, at most."""
    batch_size: Positive = 128
    """Examples in one step."""
    learning_rate: Annotated[float, Field(gt=0.0)] = 1e-3
    """Adam's first learning rate."""
    reduce_patience: Positive = 3
    """Epochs without progress before the learning rate is halved."""
    stop_patience: Positive = 8
    """Epochs without progress before training stops."""
    seed: int = 0
    """Seed of weights and order."""
    min_images: Positive = 100
    """Fewer training images than this are refused."""


class Encoder(Section):
    """What every preset has."""

    TRAIN: ClassVar[Mapping[str, Any]] = {}
    """What `[train]` says for this preset where the dataset says nothing."""

    latent_dim: Annotated[int, Field(ge=2, le=4096)] = 128
    """Numbers in a latent."""

    def least_side(self) -> int:
        """Return the fewest pixels that a side of an image must have."""
        return 8


class GradientSettings(Encoder):
    """What may be asked of an encoder that is trained by gradient; all of it is off."""

    noise: Weight = 0.0
    """Deviation of Gaussian noise on normalised images in training: denoising."""
    mask: Share = 0.0
    """Share of blocks of 4 × 4 pixels that are hidden in training."""
    kl: Weight = 0.0
    """Weight of the KL divergence of a variational code; 0: the code is no draw."""
    free_bits: Weight = 0.05
    """KL divergence (nats) that each number of a variational code has for nothing."""
    discriminative: Weight = 0.0
    """Weight of VICReg (on two views of an image) beside the reconstruction's 1."""
    projector: tuple[Positive, ...] = (512, 512)
    """Widths of the layers between the code and VICReg."""
    perceptual: str = ""
    """A frozen model (a .keras file), whose features reconstructions must keep."""
    perceptual_layer: str = ""
    """Which layer of the frozen model gives the features; by default its last."""
    perceptual_sha256: str = ""
    """What the frozen model's SHA-256 must be; by default any."""
    perceptual_weight: Weight = 1.0
    """Weight of the error of features, which counts in shares of their variance."""


class ConvSettings(GradientSettings):
    """Preset `conv`: strided convolutions, a dense bottleneck, a mirrored decoder."""

    preset: Literal["conv"] = "conv"
    """The architecture, by name."""
    pooled_share: Fraction = 0.5
    """Part of the latent that comes from pooled activations; 0: the bare bottleneck."""
    widths: tuple[Positive, ...] = (32, 64, 128)
    """Channels of each strided convolution; each halves height and width."""
    attention: Annotated[int, Field(ge=0)] = 0
    """Transformer blocks on the last convolution's map."""

    def least_side(self) -> int:
        """Return what leaves two pixels after the last halving."""
        return 2 ** (len(self.widths) + 1)


PRESETS: dict[str, type[Encoder]] = {"conv": ConvSettings}
"""The settings of each preset, by its name."""
DEFAULT = ConvSettings()
"""What is used where a dataset names no preset."""


def preset_of(value: Any) -> Any:
    """Return which preset ``value``, read from TOML or made by us, is for."""
    if isinstance(value, dict):
        return value.get("preset", DEFAULT.preset)
    return getattr(value, "preset", None)


EncoderSettings = Annotated[
    Annotated[ConvSettings, Tag("conv")],
    Discriminator(preset_of),
]
"""The settings of one of the presets; its ``preset`` tells of which."""
