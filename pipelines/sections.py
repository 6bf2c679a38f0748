"""The sections of a dataset's settings: one frozen class each, and nothing heavy.

Each field becomes a flag by itself (``--train.epochs 20``) and its comment in
``latentlake init`` is the text beside it here.
"""

import zoneinfo
from typing import Annotated, Literal

from pydantic import Field, field_validator

from models.section import Fraction, Positive, Section

Retrain = Literal["never", "daily", "weekly", "monthly"]


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
