"""The state of training after an epoch, in one file that is whole or not there."""

import json
import os
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

_KEPT = ("wait", "best", "best_epoch", "cooldown_counter", "stopped_epoch")
"""What Keras' callbacks know from epoch to epoch, besides the best weights."""


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


def read_notes(path: str) -> dict[str, Any] | None:
    """Return the notes of the checkpoint at ``path``; ``None`` where there is none."""
    if not os.path.exists(path):
        return None
    with np.load(path, allow_pickle=False) as arrays:
        notes: dict[str, Any] = json.loads(str(arrays["notes"]))
    return notes


def restore(
    path: str, model: keras.Model, callbacks: Sequence[keras.callbacks.Callback]
) -> None:
    """Give ``model``, its optimizer and ``callbacks`` the state at ``path``."""
    with np.load(path, allow_pickle=False) as arrays:
        for number, variable in enumerate(_variables(model)):
            variable.assign(arrays[f"variable-{number}"])
        states = json.loads(str(arrays["notes"]))["callbacks"]
        for place, (callback, state) in enumerate(zip(callbacks, states, strict=True)):
            for name, value in state.items():
                if hasattr(callback, name):
                    setattr(callback, name, value)
            names = [one for one in arrays.files if one.startswith(f"best-{place}-")]
            if names:
                count = range(len(names))
                callback.best_weights = [arrays[f"best-{place}-{one}"] for one in count]


def _variables(model: keras.Model) -> list[Any]:
    return [*model.variables, *model.optimizer.variables]
