"""What a person may choose of an encoder: one frozen class for each preset.

Each field becomes a flag by itself, and the text beneath it its explanation. Nothing
heavy is imported: the command line reads this file before any engine.
"""

import tomllib
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import Discriminator, Field, Tag, model_validator

from models.section import (
    DeepSettings,
    Encoder,
    Fraction,
    GradientSettings,
    Positive,
    TrainSettings,
    Weight,
)


class ConvSettings(GradientSettings):
    """Preset `conv`: strided convolutions, a dense bottleneck, a mirrored decoder."""

    preset: Literal["conv"] = "conv"
    """The architecture, by name."""
    pooled_share: Fraction = 0.5
    """Part of the latent that comes from pooled activations; 0: the bare bottleneck."""
    widths: Annotated[tuple[Positive, ...], Field(min_length=1)] = (32, 64, 128)
    """Channels of each strided convolution; each halves height and width."""
    attention: Annotated[int, Field(ge=0)] = 0
    """Transformer blocks on the last convolution's map."""

    def least_side(self) -> int:
        """Return what leaves two pixels after the last halving."""
        return 2 ** (len(self.widths) + 1)


class PatchSettings(Encoder):
    """Preset `patch`: a dictionary of patches and a slow map, all in closed form."""

    TRAIN: ClassVar[Mapping[str, Any]] = {"epochs": 5}
    CLOSED_FORM: ClassVar[bool] = True

    preset: Literal["patch"] = "patch"
    """The architecture, by name."""
    latent_dim: Annotated[int, Field(ge=2, le=4096)] = 512
    """Numbers in a latent."""
    pixel_share: Fraction = 0.25
    """Part of the latent that is whitened principal components of the pixels."""
    atoms: Positive = 400
    """Patches in the dictionary; more of them know more, and cost as much more."""
    patch_side: Annotated[int, Field(ge=2, le=16)] = 6
    """Pixels of a patch's side."""
    stride: Positive = 2
    """Pixels from one patch to the next."""
    components: Annotated[int, Field(ge=0)] = 40
    """Principal components of a patch that are kept; 0: all."""
    contrast_floor: Annotated[float, Field(gt=0.0)] = 0.0025
    """Added to a patch's variance before contrast is divided out; pixels vary by 1."""
    zca_epsilon: Annotated[float, Field(gt=0.0)] = 1.0
    """Added to the variances that ZCA brings to 1; JPEG's traces need much of it."""
    threshold: Weight = 0.05
    """What a patch must have of an atom before it counts."""
    rectifier: Literal["relu", "crelu"] = "relu"
    """`crelu` also counts what a patch has of an atom's negative, at twice the cost."""
    patches: Positive = 120_000
    """Patches that the dictionary is learned from."""
    slow_features: Positive = 128
    """Numbers that the slow map leaves of a place."""
    grid: Positive = 2
    """The latent sees the image in so many rows and columns."""
    working_side: Annotated[int, Field(ge=8)] = 48
    """Images whose longer side has more pixels are made smaller first."""
    images: Annotated[int, Field(ge=0)] = 0
    """Training images for the slow map and the decoder, at most; 0: all of them."""

    def least_side(self) -> int:
        """Return what leaves each part of the grid two pooled codes wide."""
        return self.patch_side + self.stride * (2 * self.grid - 1)


class InstanceSettings(PatchSettings):
    """Preset `instance`: a network, begun in closed form, that knows each image."""

    TRAIN: ClassVar[Mapping[str, Any]] = {
        **{"epochs": 20, "batch_size": 128, "learning_rate": 3e-3},
    }
    CLOSED_FORM: ClassVar[bool] = False
    LOSS: ClassVar[str] = "the cross-entropy of knowing an image among others"
    PLANNED: ClassVar[bool] = True

    preset: Literal["instance"] = "instance"  # type: ignore[assignment]
    """The architecture, by name."""
    pixel_share: Fraction = 0.172
    """Part of the latent that is whitened principal components of the pixels."""
    atoms: Positive = 128
    """Patches in the stem's dictionary."""
    images: Annotated[int, Field(ge=0)] = 15_000
    """Training images that the stem's slow map is fitted on, at most; 0: all."""
    trunk: Annotated[tuple[Positive, ...], Field(min_length=2)] = (192, 192, 512)
    """Channels of the convolutions that are trained on the stem's map."""
    temperature: Annotated[float, Field(gt=0.0)] = 0.3
    """How alike a view must be to its image's memory; less is stricter."""
    momentum: Fraction = 0.5
    """How much of an image's memory stays when it is seen again."""
    negatives: Positive = 896
    """Memories drawn for a view's comparison, beside those of its own batch."""
    view_scale: Annotated[float, Field(gt=0.0, le=1.0)] = 0.75
    """The side of a view, in sides of the image: small views cost less."""
    least_area: Annotated[float, Field(gt=0.0, le=1.0)] = 0.25
    """Share of an image that a view shows at least."""
    flip: bool = True
    """Whether views may be mirrored; not for digits or letters."""
    colours: bool = True
    """Whether brightness, contrast and colours of views change."""
    weight_decay: Weight = 1e-4
    """Weight decay of kernels."""
    precision: Literal["auto", "float32", "mixed_bfloat16"] = "auto"
    """What layers compute in; auto: mixed_bfloat16 where this host is faster in it."""


class ResNetSettings(DeepSettings):
    """Preset `resnet`: a residual network that knows two views of an image as one."""

    TRAIN: ClassVar[Mapping[str, Any]] = {
        "epochs": 100,
        "batch_size": 256,
        "learning_rate": 0.3,
    }
    LOSS: ClassVar[str] = "VICReg's, and the mean squared error of painted pixels"

    preset: Literal["resnet"] = "resnet"
    """The architecture, by name."""
    width: Positive = 64
    """Channels of the first stage; each further stage has twice as many."""
    blocks: Annotated[tuple[Positive, ...], Field(min_length=1)] = (2, 2, 2, 2)
    """Residual blocks of each stage; each stage but the first halves its maps."""
    projector: Annotated[tuple[Positive, ...], Field(min_length=1)] = (2048,) * 3
    """Widths of the layers between the features and VICReg."""
    reconstruction: Weight = 1.0
    """Weight of painting each view from its features, beside VICReg."""
    least_area: Annotated[float, Field(gt=0.0, le=1.0)] = 0.2
    """Share of an image that a view shows at least."""
    flip: bool = True
    """Whether views may be mirrored; not for digits or letters."""
    colours: bool = True
    """Whether brightness, contrast and colours of views change."""
    weight_decay: Weight = 1e-4
    """Weight decay of kernels."""

    def least_side(self) -> int:
        """Return what leaves two pixels to the last stage."""
        return max(8, 2 ** len(self.blocks))


class VitSettings(DeepSettings):
    """Preset `vit`: a masked autoencoder of patches, by attention."""

    TRAIN: ClassVar[Mapping[str, Any]] = {
        "epochs": 200,
        "batch_size": 256,
        "learning_rate": 1e-3,
    }
    LOSS: ClassVar[str] = "the mean squared error of hidden patches"

    preset: Literal["vit"] = "vit"
    """The architecture, by name."""
    patch: Positive = 4
    """Pixels of a patch's side; what is left over at the edge is not seen."""
    depth: Positive = 6
    """Transformer blocks of the encoder."""
    width: Positive = 192
    """Numbers of a token."""
    heads: Positive = 3
    """Attention heads of a block; they share the width evenly."""
    decoder_depth: Positive = 2
    """Transformer blocks of the decoder, which is used in training alone."""
    decoder_width: Positive = 96
    """Numbers of a token in the decoder."""
    mask: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.75
    """Share of patches that are hidden in training."""
    normalise_patches: bool = True
    """Whether hidden patches are painted up to their own mean and contrast."""
    weight_decay: Weight = 0.05
    """Weight decay of kernels."""

    def least_side(self) -> int:
        """Return two patches."""
        return max(8, 2 * self.patch)


class FusionSettings(Encoder):
    """Preset `fusion`: the latents of other presets, whitened together."""

    preset: Literal["fusion"] = "fusion"
    """The architecture, by name."""
    latent_dim: Annotated[int, Field(ge=2, le=4096)] = 512
    """Numbers in a latent."""
    presets: Annotated[tuple[str, ...], Field(min_length=2)] = ("conv", "patch")
    """The presets whose encoders are fused, each trained by its own plan, if any."""
    overrides: tuple[str, ...] = ()
    """Settings of these, each as in `patch.atoms = 800` or `conv.train.epochs = 30`."""

    @model_validator(mode="after")
    def _parts_are_sound(self) -> Self:
        self.parts()
        return self

    def parts(
        self, train: TrainSettings | None = None
    ) -> list[tuple[Any, TrainSettings]]:
        """Return the settings of each part, and how it is trained where all are so.

        A part's own plan comes before ``train``, and an override before both.

        Raises:
            ValueError: A preset is not there or named twice, or an override is wrong.
        """
        given: dict[str, list[str]] = {name: [] for name in self.presets}
        known = sorted(set(PRESETS) - {self.preset})
        if set(given) - set(known) or len(given) < len(self.presets):
            raise ValueError(
                f"encoder.presets is {', '.join(self.presets)}: name two or more of "
                f"{', '.join(known)}, each once"
            )
        for line in self.overrides:
            name, _, setting = line.partition(".")
            if name not in given:
                raise ValueError(
                    f"encoder.overrides has {line!r}: begin with one of "
                    f"{', '.join(given)}, as in '{self.presets[0]}.latent_dim = 64'"
                )
            given[name].append(setting)
            try:
                tomllib.loads("\n".join(given[name]))
            except tomllib.TOMLDecodeError as error:
                raise ValueError(f"encoder.overrides has {line!r}: {error}") from error
        usual = (train or TrainSettings()).model_dump()
        found = []
        for name, lines in given.items():
            values = tomllib.loads("\n".join(lines))
            asked = values.pop("train", {})
            if not isinstance(asked, dict):
                raise ValueError(
                    f"encoder.overrides has '{name}.train = {asked}': name a "
                    f"setting, as in '{name}.train.epochs = 30'"
                )
            part = PRESETS[name].model_validate(values)
            plan = TrainSettings.model_validate({**usual, **part.TRAIN, **asked})
            found.append((part, plan))
        return found

    def least_side(self) -> int:
        """Return what suits every part."""
        return max(part.least_side() for part, _ in self.parts())


PRESETS: dict[str, type[Encoder]] = {
    "conv": ConvSettings,
    "fusion": FusionSettings,
    "instance": InstanceSettings,
    "patch": PatchSettings,
    "resnet": ResNetSettings,
    "vit": VitSettings,
}
"""The settings of each preset, by its name."""
DEFAULT = InstanceSettings()
"""What is used where a dataset names no preset."""


def preset_of(value: Any) -> Any:
    """Return which preset ``value``, read from TOML or made by us, is for."""
    if isinstance(value, dict):
        return value.get("preset", DEFAULT.preset)
    return getattr(value, "preset", None)


EncoderSettings = Annotated[
    Annotated[ConvSettings, Tag("conv")]
    | Annotated[FusionSettings, Tag("fusion")]
    | Annotated[InstanceSettings, Tag("instance")]
    | Annotated[PatchSettings, Tag("patch")]
    | Annotated[ResNetSettings, Tag("resnet")]
    | Annotated[VitSettings, Tag("vit")],
    Discriminator(preset_of),
]
"""The settings of one of the presets; its ``preset`` tells of which."""
