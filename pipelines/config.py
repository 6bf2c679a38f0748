"""The settings of a dataset: one frozen class a section, and the TOML file they fill.

Nothing here touches a file but :func:`load`; a settings object checks itself and does
nothing else. Each field becomes a flag by itself (``--train.epochs 20``) and its
comment in ``latentlake init`` is the text beside it here.
"""

import hashlib
import json
import os
import pathlib
import re
import tomllib
import zoneinfo
from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from pipelines.errors import ConfigError

DATASET_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")

Fraction = Annotated[float, Field(ge=0.0, le=1.0)]
Positive = Annotated[int, Field(ge=1)]
Retrain = Literal["never", "daily", "weekly", "monthly"]


class Section(BaseModel):
    """A part of a dataset's settings: frozen, and closed to unknown keys."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", use_attribute_docstrings=True
    )


class SourceSettings(Section):
    """Where a dataset's images come from."""

    path: str
    """Folder, file or glob, on any filesystem that fsspec reads."""
    kind: Literal["auto", "folder", "tar", "parquet", "list", "idx", "cifar"] = "auto"
    """How the images are kept; `auto` judges by the names of the files."""
    label: Literal["auto", "none"] = "auto"
    """`auto` takes labels where the source has them (parent folder, column, file)."""
    image_column: str = "image"
    """Parquet: the column of encoded images (bytes, or a struct of bytes and path)."""
    uri_column: str = "path"
    """Lists: the column of paths or URIs; a relative one is taken from the list."""
    label_column: str = "label"
    """Parquet and lists: the column of labels."""
    split_column: str = "split"
    """Parquet and lists: the column of splits (train; test, val, validation, eval)."""
    retries: Annotated[int, Field(ge=0)] = 3
    """How often a read that fails on the network is tried again."""


class ImageSettings(Section):
    """What makes an image canonical; their digest is the `image_spec_id`."""

    height: Annotated[int, Field(ge=8, le=1024)] = 64
    """Rows of a canonical image, in pixels."""
    width: Annotated[int, Field(ge=8, le=1024)] = 64
    """Columns of a canonical image, in pixels."""
    channels: Literal[1, 3] = 3
    """3 for RGB, 1 for grey."""
    fit: Literal["cover", "contain", "stretch"] = "cover"
    """`cover` fills and crops the middle, `contain` pads, `stretch` distorts."""
    background: Annotated[str, Field(pattern=r"^#[0-9a-fA-F]{6}$")] = "#ffffff"
    """The colour under transparent pixels and beside contained ones."""
    scaled_decode: bool = True
    """Decode large JPEGs at a reduced scale: faster, about one grey level off."""
    min_side: Positive = 8
    """Shortest acceptable side of the original, in pixels."""
    max_bytes: Positive = 64 * 2**20
    """Largest acceptable file, in bytes."""
    max_pixels: Positive = 100_000_000
    """Largest acceptable original, in pixels, judged by its header."""


class LimitSettings(Section):
    """What makes a whole night bad: nothing of it is published."""

    max_rejected_fraction: Fraction = 0.05
    """Share of new and changed entries that may be rejected."""
    max_rejected_floor: Annotated[int, Field(ge=0)] = 20
    """So many rejections never stop a night."""
    max_growth: Annotated[float, Field(gt=1.0)] = 10.0
    """Largest growth of the source from one night to the next, as a factor."""
    max_gone_fraction: Fraction = 0.5
    """Share of the corpus that may vanish in one night."""
    max_blank_fraction: Fraction = 0.5
    """Share of new images that may be of one single colour."""


class SplitSettings(Section):
    """Which images are held out from training."""

    eval_fraction: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.1
    """Share held out, by a hash of the image; a source's own split wins."""
    seed: int = 0
    """Another number is another choice of held-out images."""


class TransformSettings(Section):
    """How canonical images become numbers for the encoder."""

    normalise: Literal["per_channel", "per_pixel"] = "per_channel"
    """Whose mean and variance: one for each channel, or for each pixel of it."""
    max_train_images: Positive = 1_000_000
    """Cap on the training examples written; statistics cover all training images."""


class EncoderSettings(Section):
    """Which encoder is trained, and the shape of its latent."""

    preset: Literal["conv"] = "conv"
    """The architecture, by name."""
    latent_dim: Annotated[int, Field(ge=2, le=4096)] = 128
    """Numbers in a latent."""
    pooled_share: Fraction = 0.5
    """Part of the latent that comes from pooled activations; the rest is bottleneck."""
    widths: tuple[Positive, ...] = (32, 64, 128)
    """Channels of each strided convolution; each halves height and width."""


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


class GateSettings(Section):
    """What a candidate must show before it is used. Margins are against PCA."""

    primary: Literal["auto", "linear", "psnr"] = "auto"
    """The figure that must beat PCA's; `auto`: linear with labels, else psnr."""
    min_gain: float = 0.0
    """The lower end of the 95 % interval of the gain must lie above this."""
    knn_margin: float = 3.0
    """Points of k-NN accuracy that may be lost to PCA (below it the floor counts)."""
    knn_floor: float = 90.0
    """k-NN accuracy that is enough whatever PCA has, in per cent."""
    linear_margin: float = 3.0
    """Points of linear-probe accuracy that may be lost to PCA, where not primary."""
    linear_floor: float = 90.0
    """Linear-probe accuracy that is enough whatever PCA has, where not primary."""
    psnr_margin: float = 3.0
    """Decibels that may be lost to PCA (below it the floor counts)."""
    psnr_floor: float = 20.0
    """PSNR that is enough whatever PCA has, in dB."""
    accepted_margin: float = 1.0
    """Points (or dB) that may be lost to the accepted encoder."""
    min_images: Positive = 200
    """Fewer held-out images give no interval, and so no acceptance."""
    allow_small: bool = False
    """Accept on the plain figures where there are fewer (say so on purpose)."""
    max_images: Positive = 10_000
    """Held-out images judged, at most (by hash)."""
    probe_images: Positive = 20_000
    """Training images that probes are fitted on, at most (by hash)."""


class ScheduleSettings(Section):
    """When nights run, and when an encoder is trained anew."""

    cron: str = "@daily"
    """When the DAG runs: a cron expression, `@daily`, or `none` for by hand only."""
    timezone: str = "UTC"
    """The zone that a night's date is read in."""
    retrain: Retrain = "weekly"
    """The calendar of training; an encoder is also trained where there is none."""
    max_drift: Annotated[float, Field(gt=1.0)] = 1.5
    """Train anew when new images reconstruct so many times worse than at the gate."""

    @field_validator("timezone")
    @classmethod
    def _known_zone(cls, value: str) -> str:
        if value not in zoneinfo.available_timezones():
            raise ValueError("no such time zone; use one like Europe/Berlin")
        return value


class EngineSettings(Section):
    """How the Beam stages run."""

    workers: Annotated[int, Field(ge=0)] = 0
    """Threads of the local runner; 0 takes the cores of this machine."""
    chunk_size: Annotated[int, Field(ge=16, le=65536)] = 1024
    """Entries in one chunk: one chunk in, one shard out."""


class Settings(Section):
    """All settings of one dataset, as its TOML file has them."""

    source: SourceSettings
    """Where the images come from."""
    image: ImageSettings = ImageSettings()
    """What makes an image canonical."""
    limits: LimitSettings = LimitSettings()
    """What makes a night bad."""
    split: SplitSettings = SplitSettings()
    """Which images are held out."""
    transform: TransformSettings = TransformSettings()
    """How images become numbers."""
    encoder: EncoderSettings = EncoderSettings()
    """Which encoder is trained."""
    train: TrainSettings = TrainSettings()
    """How it is trained."""
    gate: GateSettings = GateSettings()
    """What it must show."""
    schedule: ScheduleSettings = ScheduleSettings()
    """When nights run."""
    engine: EngineSettings = EngineSettings()
    """How the Beam stages run."""

    @model_validator(mode="after")
    def _shape_fits_the_encoder(self) -> Self:
        shortest = min(self.image.height, self.image.width)
        halvings = len(self.encoder.widths)
        if shortest < 2 ** (halvings + 1):
            raise ValueError(
                f"encoder.widths halves the image {halvings} times, which leaves "
                f"nothing of {shortest} pixels: give fewer widths or larger images"
            )
        return self


def load(path: str | os.PathLike[str]) -> Settings:
    """Return the settings that the TOML file at ``path`` holds.

    Raises:
        ConfigError: The file is missing, is not TOML, or a setting is wrong; the
            message names the file, each key, what was found and what is allowed.
    """
    file = pathlib.Path(path)
    try:
        values = tomllib.loads(file.read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(
            f"{file}: cannot be read ({error.strerror}). Give the name of a dataset "
            "that has a file there, the path of another .toml file, or write one "
            "with: latentlake init FOLDER"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{file}: is not valid TOML: {error}.") from error
    return parse(values, origin=str(file))


def parse(values: dict[str, object], *, origin: str) -> Settings:
    """Return settings checked from ``values``; ``origin`` is named in errors."""
    try:
        return Settings.model_validate(values)
    except ValidationError as error:
        raise ConfigError(f"{origin}: {explain(error)}") from error


def explain(error: ValidationError) -> str:
    """Return one line for each wrong setting: the key, what was found, the rule."""
    lines = []
    for one in error.errors(include_url=False):
        key = ".".join(str(part) for part in one["loc"]) or "settings"
        if one["type"] == "missing":
            lines.append(f"{key}: is missing; it must be given")
        elif one["type"] == "extra_forbidden":
            lines.append(f"{key}: there is no such setting; look for a slip of the pen")
        elif one["type"] == "value_error" and not one["loc"]:
            lines.append(str(one["ctx"]["error"]))
        else:
            lines.append(f"{key}: found {one['input']!r}; {one['msg']}")
    return "; ".join(lines) + "."


def find(dataset: str, folder: str | None = None) -> pathlib.Path:
    """Return the settings file of ``dataset``, given by name or by path.

    ``folder`` (else ``LATENTLAKE_DATASETS``, else ``dags/datasets``) holds the named.
    """
    if dataset.endswith(".toml"):
        return pathlib.Path(dataset)
    check_name(dataset)
    home = folder or os.environ.get("LATENTLAKE_DATASETS", "dags/datasets")
    return pathlib.Path(home) / f"{dataset}.toml"


def check_name(dataset: str) -> str:
    """Return ``dataset`` if it may name one, else raise :class:`ConfigError`."""
    if not DATASET_NAME.match(dataset):
        raise ConfigError(
            f"dataset {dataset!r}: a name is a lower-case letter, then lower-case "
            "letters, digits and underscores; or give the path of a .toml file."
        )
    return dataset


def digest_of(value: object) -> str:
    """Return 16 hex digits that stand for ``value`` (anything JSON can hold)."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def image_spec_id(image: ImageSettings) -> str:
    """Return the digest of the settings that make an image canonical."""
    return digest_of({"image": image.model_dump(), "canonical": 1})
