"""The settings of a dataset: its sections together, and the TOML file they fill.

Nothing here touches a file but :func:`load`; a settings object checks itself and does
nothing else.
"""

import hashlib
import json
import os
import pathlib
import re
import tomllib
from typing import Any, Self

from pydantic import ValidationError, model_validator

from models.section import TrainSettings
from models.settings import DEFAULT, PRESETS, EncoderSettings, preset_of
from pipelines.engine_section import EngineSettings
from pipelines.errors import ConfigError
from pipelines.sections import (
    Fraction,
    GateSettings,
    ImageSettings,
    LimitSettings,
    Positive,
    Retrain,
    ScheduleSettings,
    Section,
    SourceSettings,
    SplitSettings,
    TransformSettings,
)

__all__ = [
    "DATASET_NAME",
    "EncoderSettings",
    "EngineSettings",
    "Fraction",
    "GateSettings",
    "ImageSettings",
    "LimitSettings",
    "Positive",
    "Retrain",
    "ScheduleSettings",
    "Section",
    "Settings",
    "SourceSettings",
    "SplitSettings",
    "TrainSettings",
    "TransformSettings",
    "check_name",
    "digest_of",
    "explain",
    "find",
    "image_spec_id",
    "load",
    "parse",
]

DATASET_NAME = re.compile(r"[a-z][a-z0-9_]*\Z")


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
    encoder: EncoderSettings = DEFAULT
    """Which encoder is trained."""
    train: TrainSettings = TrainSettings()
    """How it is trained."""
    gate: GateSettings = GateSettings()
    """What it must show."""
    schedule: ScheduleSettings = ScheduleSettings()
    """When nights run."""
    engine: EngineSettings = EngineSettings()
    """How the Beam stages run."""

    @model_validator(mode="before")
    @classmethod
    def _trained_as_the_preset_needs(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        preset = PRESETS.get(preset_of(values.get("encoder", {})))
        given = values.get("train", {})
        if preset is None or not isinstance(given, dict):
            return values  # the sections' own checks say what is wrong
        return {**values, "train": {**preset.TRAIN, **given}}

    @model_validator(mode="after")
    def _images_suit_the_encoder(self) -> Self:
        shortest = min(self.image.height, self.image.width)
        least = self.encoder.least_side()
        if shortest < least:
            raise ValueError(
                f"encoder.preset {self.encoder.preset} as it is set needs images of "
                f"{least} pixels a side, and image has {shortest}: give larger images "
                "or, for conv, fewer encoder.widths"
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
        key = _key(one["loc"])
        if one["type"] == "missing":
            lines.append(f"{key}: is missing; it must be given")
        elif one["type"] == "extra_forbidden":
            lines.append(f"{key}: there is no such setting; look for a slip of the pen")
        elif one["type"] == "value_error" and isinstance(one["input"], dict):
            lines.append(str(one["ctx"]["error"]))
        elif one["type"] == "union_tag_invalid":
            found, known = one["ctx"]["tag"], ", ".join(PRESETS)
            lines.append(f"{key}.preset: found {found!r}; there are {known}")
        else:
            lines.append(f"{key}: found {one['input']!r}; {one['msg']}")
    return "; ".join(lines) + "."


def _key(place: tuple[int | str, ...]) -> str:
    """Return the key in the TOML file; pydantic names the preset within it too."""
    parts = [str(part) for part in place]
    if parts[:1] == ["encoder"] and parts[1:2] and parts[1] in PRESETS:
        del parts[1]
    return ".".join(parts) or "settings"


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
