"""What settings share: kinds of values, ``[train]``, what presets have in common.

Nothing heavy is imported: the command line reads this file before any engine.
"""

from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
Weight = Annotated[float, Field(ge=0.0)]
Share = Annotated[float, Field(ge=0.0, lt=1.0)]
Precision = Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"]


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
    """The first learning rate; the highest of a plan (instance, resnet, vit)."""
    reduce_patience: Positive = 3
    """Epochs without progress before a learning rate without a plan is halved."""
    stop_patience: Positive = 8
    """Epochs without progress before training without such a plan stops."""
    seed: int = 0
    """Seed of weights and order."""
    min_images: Positive = 100
    """Fewer training images than this are refused."""


class Encoder(Section):
    """What every preset has."""

    TRAIN: ClassVar[Mapping[str, Any]] = {}
    """What `[train]` says for this preset where the dataset says nothing."""
    CLOSED_FORM: ClassVar[bool] = False
    """Whether it is fitted by sums over all images, which Beam may add up."""
    LOSS: ClassVar[str] = "the mean squared error of normalised images"
    """What training brings down, in words."""
    PLANNED: ClassVar[bool] = False
    """Whether the learning rate follows a plan, and not the loss."""

    latent_dim: Annotated[int, Field(ge=2, le=4096)] = 128
    """Numbers in a latent."""

    def least_side(self) -> int:
        """Return the fewest pixels that a side of an image must have."""
        return 8


class GradientSettings(Encoder):
    """What may be asked of an encoder that is trained by gradient; all of it is off."""

    LOSS: ClassVar[str] = (
        "the mean squared error of normalised images, and what else was asked"
    )

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
    projector: Annotated[tuple[Positive, ...], Field(min_length=1)] = (512, 512)
    """Widths of the layers between the code and VICReg."""
    flip: bool = True
    """Whether views may be mirrored; not for digits or letters."""
    perceptual: str = ""
    """A frozen model (a .keras file), whose features reconstructions must keep."""
    perceptual_layer: str = ""
    """Which layer of the frozen model gives the features; by default its last."""
    perceptual_sha256: str = ""
    """What the frozen model's SHA-256 must be; by default any."""
    perceptual_weight: Weight = 1.0
    """Weight of the error of features, which counts in shares of their variance."""


class DeepSettings(Encoder):
    """What presets have that are trained to see rather than to paint."""

    PLANNED: ClassVar[bool] = True

    latent_dim: Annotated[int, Field(ge=2, le=4096)] = 512
    """Numbers in a latent."""
    pixel_share: Fraction = 0.25
    """Part of the latent that is whitened principal components of the pixels."""
    precision: Precision = "auto"
    """What layers compute in; auto: mixed_bfloat16 on a GPU, float32 on a CPU."""
