"""What this machine computes on, asked through Keras whatever its backend."""

import contextlib
import importlib.util
import logging
import os
from collections.abc import Iterator
from typing import Any, Literal

_LOG = logging.getLogger(__name__)


def choose_backend() -> str:
    """Return the Keras backend to use, and name it to a Keras not yet imported.

    ``KERAS_BACKEND`` wins; else TensorFlow, or JAX where only that is installed.
    """
    chosen = os.environ.get("KERAS_BACKEND")
    if not chosen:
        tensorflow, jax = (
            importlib.util.find_spec(name) is not None for name in ("tensorflow", "jax")
        )
        chosen = "jax" if jax and not tensorflow else "tensorflow"
        os.environ["KERAS_BACKEND"] = chosen
    return chosen


def accelerators() -> list[str]:
    """Return the names of the GPUs or TPUs; none on a machine with CPUs only."""
    return [name for name in _devices() if not name.lower().startswith("cpu")]


def jit_compile() -> bool | Literal["auto"]:
    """Return what ``compile`` should be told: XLA is slower on TensorFlow's CPU."""
    import keras  # not before choose_backend

    on_cpu = keras.backend.backend() == "tensorflow" and not accelerators()
    return False if on_cpu else "auto"


def settle(model: Any) -> Any:
    """Return ``model``, told how to compile: a loaded or built one knows nothing."""
    compiled = jit_compile()
    if compiled != "auto":
        model.jit_compile = compiled
    return model


@contextlib.contextmanager
def spread() -> Iterator[int]:
    """Train what is built within on all devices of this host; yield how many.

    More than one is used with JAX alone; with another backend the rest stay idle, and
    a warning says so.
    """
    import keras  # not before choose_backend

    devices = _devices()
    backend = keras.backend.backend()
    if backend == "jax" and devices[0].startswith("cpu"):
        _LOG.warning(
            "JAX on a CPU trains about five times slower than TensorFlow: unset "
            "KERAS_BACKEND, or train where JAX sees a GPU."
        )
    if len(devices) < 2 or backend != "jax":
        if len(accelerators()) > 1:
            _LOG.warning(
                "%s uses one of the %d devices; with KERAS_BACKEND=jax all are used.",
                backend,
                len(devices),
            )
        yield 1
        return
    before = keras.distribution.distribution()
    keras.distribution.set_distribution(
        keras.distribution.DataParallel(devices=devices)
    )
    try:
        yield len(devices)
    finally:
        keras.distribution.set_distribution(before)


def _devices() -> list[str]:
    import keras  # not before choose_backend

    if keras.backend.backend() not in ("tensorflow", "jax"):
        return ["cpu:0"]
    found: list[str] = keras.distribution.list_devices()
    return found
