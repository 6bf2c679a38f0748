"""The state of training after an epoch, in one file that is whole or not there."""

import json
import logging
import os
import zipfile
from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np

from models.task import Task

_KEPT = ("wait", "best", "best_epoch", "cooldown_counter", "stopped_epoch")
"""What Keras' callbacks know from epoch to epoch, besides the best weights."""

_LOG = logging.getLogger(__name__)


def save(
    path: str,
    model: keras.Model,
    callbacks: Sequence[keras.callbacks.Callback],
    notes: dict[str, Any],
) -> None:
    """Put the state of ``model``, its optimizer and ``callbacks`` at ``path``.

    ``notes`` (plain values) are kept with it.
    """
    arrays = {
        f"variable-{number}": keras.ops.convert_to_numpy(variable)
        for number, variable in enumerate(_variables(model))
    }
    states = []
    for place, callback in enumerate(callbacks):
        states.append({name: getattr(callback, name, None) for name in _KEPT})
        best = getattr(callback, "best_weights", None) or []
        for number, weights in enumerate(best):
            arrays[f"best-{place}-{number}"] = weights
    text = json.dumps({"callbacks": states, **notes})
    aside = f"{path}.aside"
    with open(aside, "wb") as file:
        np.savez(file, notes=np.array(text), **arrays)
        file.flush()
        os.fsync(file.fileno())
    os.replace(aside, path)


class Checkpoint(NamedTuple):
    """A state as it was kept.

    Attributes:
        notes: What :func:`save` was given to keep with it.
        callbacks: What each callback knew.
        arrays: The variables and the best weights, by name.
    """

    notes: dict[str, Any]
    callbacks: list[dict[str, Any]]
    arrays: dict[str, np.ndarray]


def read(path: str) -> Checkpoint | None:
    """Return the checkpoint at ``path``; ``None`` where there is no sound one."""
    if not os.path.exists(path):
        return None
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}  # checksums are checked
        notes = json.loads(str(arrays.pop("notes")))
        return Checkpoint(notes, notes.pop("callbacks"), arrays)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        _LOG.warning("%s: is damaged (%s); training starts anew.", path, error)
        return None


def standing(path: str, task: Task) -> Checkpoint | None:
    """Return the checkpoint at ``path``, if there is a sound one of this very task."""
    kept = read(path)
    if kept is None:
        return None
    mine, theirs = identity(task), kept.notes["of"]
    other = [name for name in mine if mine[name] != theirs.get(name)]
    if other:
        _LOG.info(
            "The checkpoint is of other %s: training starts anew.", ", ".join(other)
        )
        return None
    return kept


def identity(task: Task) -> dict[str, Any]:
    """Return what a checkpoint must be of, to be gone on with."""
    data = task.data
    return {
        "encoder": task.encoder.model_dump(mode="json"),
        "train": task.train.model_dump(mode="json"),
        "transform": data.transform_id,
        "shape": list(data.train.shape),
        "backend": keras.backend.backend(),
        "examples": [len(data.train), len(data.held_out)],
        "files": [os.path.basename(path) for path in data.train.paths],
        "devices": task.devices,
    }


def restore(
    kept: Checkpoint, model: keras.Model, callbacks: Sequence[keras.callbacks.Callback]
) -> bool:
    """Give ``model``, its optimizer and ``callbacks`` the state that was kept.

    Returns:
        Whether it suits them; a state that other code kept may not, and is left alone.
    """
    found = {
        f"variable-{number}": variable
        for number, variable in enumerate(_variables(model))
    }
    shapes = {name: tuple(one.shape) for name, one in found.items()}
    if shapes != {
        name: one.shape
        for name, one in kept.arrays.items()
        if name.startswith("variable-")
    }:
        _LOG.warning("The checkpoint is of another network: training starts anew.")
        return False
    for name, variable in found.items():
        variable.assign(kept.arrays[name])
    for place, (callback, state) in enumerate(
        zip(callbacks, kept.callbacks, strict=True)
    ):
        for name, value in state.items():
            if hasattr(callback, name):
                setattr(callback, name, value)
        names = [one for one in kept.arrays if one.startswith(f"best-{place}-")]
        if names:
            count = range(len(names))
            callback.best_weights = [
                kept.arrays[f"best-{place}-{one}"] for one in count
            ]
    return True


def write_json(path: str, value: Any) -> None:
    """Put ``value`` at ``path``, whole or not at all."""
    aside = f"{path}.aside"
    with open(aside, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=1)
    os.replace(aside, path)


def _variables(model: keras.Model) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]
