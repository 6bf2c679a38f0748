"""What tune searches: settings of training, and a few of each preset's own."""

import json
from collections.abc import Mapping
from typing import Any

import optuna

from pipelines import config
from pipelines.config import Settings

WIDER = 10.0
"""The learning rate is searched from so many times less to so many times more."""
DIGITS = 3
"""Of a learning rate, that are kept: nobody wants to read more."""
SHARES = (0.0, 0.25, 0.5, 0.75)
CHOICES: Mapping[str, tuple[float | bool, ...]] = {
    "pooled_share": SHARES,
    "pixel_share": SHARES,
    "noise": (0.0, 0.1, 0.3),
    "threshold": (0.0, 0.05, 0.1, 0.25),
    "temperature": (0.2, 0.3, 0.5),
    "least_area": (0.1, 0.2, 0.4),
    "colours": (True, False),
    "flip": (True, False),
}
"""Values of a preset's options that are tried beside the dataset's own."""
FACTORS: Mapping[str, tuple[float, ...]] = {
    "widths": (0.5, 1.0, 1.5),
    "width": (0.5, 1.0, 1.5),
    "atoms": (0.5, 1.0, 2.0),
    "slow_features": (0.5, 1.0, 2.0),
    "zca_epsilon": (0.3, 1.0, 3.0),
}
"""Options that are tried at so many times the dataset's own value."""

Choice = dict[str, Any]
"""What a trial chose: ``section.key`` to a plain value, as Optuna keeps it."""


def own(settings: Settings) -> Choice:
    """Return the dataset's own values of what is searched."""
    found = {f"encoder.{key}": _plain(value[0]) for key, value in options(settings)}
    if not settings.encoder.CLOSED_FORM:
        train = settings.train
        found["train.learning_rate"] = train.learning_rate
        found["train.batch_size"] = train.batch_size
        found["train.epochs"] = train.epochs
    return found


def suggest(trial: optuna.Trial, settings: Settings) -> Choice:
    """Return what ``trial`` is to try."""
    found: Choice = {
        f"encoder.{key}": trial.suggest_categorical(
            f"encoder.{key}", [_plain(value) for value in values]
        )
        for key, values in options(settings)
    }
    if settings.encoder.CLOSED_FORM:
        return found
    train = settings.train
    rate = trial.suggest_float(
        "train.learning_rate",
        train.learning_rate / WIDER,
        train.learning_rate * WIDER,
        log=True,
    )
    found["train.learning_rate"] = float(f"{rate:.{DIGITS}g}")
    sizes = sorted(
        {max(1, train.batch_size // 2), *(train.batch_size * n for n in (1, 2))}
    )
    found["train.batch_size"] = trial.suggest_categorical("train.batch_size", sizes)
    found["train.epochs"] = trial.suggest_int(
        "train.epochs", max(1, train.epochs // 2), 2 * train.epochs
    )
    return found


def options(settings: Settings) -> list[tuple[str, list[Any]]]:
    """Return each option of the preset that is searched, its own value first."""
    found = []
    for key in type(settings.encoder).model_fields:
        if key == "flip" and not getattr(settings.encoder, "discriminative", 1.0):
            continue  # no views of images are asked for: nothing is mirrored
        value = getattr(settings.encoder, key)
        others: list[Any] = []
        if key in CHOICES:
            others = list(CHOICES[key])
        elif key in FACTORS:
            others = [_times(value, factor) for factor in FACTORS[key]]
        fit = [one for one in others if one != value and _fits(settings, key, one)]
        if fit:
            found.append((key, [value, *fit]))
    return found


def chosen(settings: Settings, choice: Choice) -> Settings:
    """Return ``settings`` with what ``choice`` says in place of their own."""
    values = settings.model_dump(mode="json")
    for name, value in choice.items():
        section, _, key = name.partition(".")
        lists = isinstance(values[section][key], list)
        values[section][key] = json.loads(value) if lists else value
    return config.parse(values, origin="a trial")


def fragment(settings: Settings, choice: Choice) -> str:
    """Return the sections [encoder] and [train] of a trial, as TOML.

    Of the encoder, what was searched or is not the preset's default; of training all,
    since a preset may have defaults of its own.
    """
    found = chosen(settings, choice).model_dump(mode="json")
    plain = type(settings.encoder)().model_dump(mode="json")
    encoder = {"preset": found["encoder"]["preset"]} | {
        key: value
        for key, value in found["encoder"].items()
        if value != plain[key] or f"encoder.{key}" in choice
    }
    sections = (("encoder", encoder), ("train", found["train"]))
    return "\n".join(
        f"[{name}]\n"
        + "".join(f"{key} = {json.dumps(one)}\n" for key, one in keys.items())
        for name, keys in sections
    )


def said(choice: Choice, base: Choice) -> str:
    """Return in words what ``choice`` changes of ``base``."""
    words = [
        f"{name.partition('.')[2]} {value}"
        for name, value in choice.items()
        if value != base.get(name)
    ]
    return ", ".join(words) or "the dataset's own settings"


def _plain(value: Any) -> Any:
    """Return ``value`` as Optuna keeps it: lists as JSON."""
    return json.dumps(list(value)) if isinstance(value, list | tuple) else value


def _times(value: Any, factor: float) -> Any:
    if isinstance(value, tuple):
        return tuple(max(1, round(one * factor)) for one in value)
    return max(1, round(value * factor)) if isinstance(value, int) else value * factor


def _fits(settings: Settings, key: str, value: Any) -> bool:
    """Return whether the preset takes ``value`` for an option."""
    try:
        chosen(settings, {f"encoder.{key}": _plain(value)})
    except config.ConfigError:
        return False
    return True
