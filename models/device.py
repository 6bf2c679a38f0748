"""What this machine computes on, asked through Keras whatever its backend."""

import contextlib
import ctypes.util
import glob
import importlib.metadata
import importlib.util
import logging
import os
from collections.abc import Iterable, Iterator
from typing import Any, Literal, NamedTuple

JAX_PLUGINS = ("jax-cuda13-plugin", "jax-cuda12-plugin")
"""Either lets JAX use an NVIDIA GPU."""
CUDNN = ("nvidia-cudnn-cu13", "nvidia-cudnn-cu12")
"""TensorFlow comes for GPUs and CPUs alike; without this it sees no GPU."""
GPU_DEVICES = ("/dev/nvidia[0-9]*", "/proc/driver/nvidia/gpus/*", "/dev/dxg")
"""What the driver shows of its GPUs; the last is how Windows hands them on."""
CPU_FLAGS = "/proc/cpuinfo"

_LOG = logging.getLogger(__name__)


class Choice(NamedTuple):
    """Which of Keras' backends is used, and why.

    Attributes:
        backend: Its name: ``jax``, ``tensorflow``, or what ``KERAS_BACKEND`` says.
        why: The reason, as part of a sentence.
    """

    backend: str
    why: str


def choose_backend() -> str:
    """Return the Keras backend to use, and name it to a Keras not yet imported."""
    chosen = choose().backend
    os.environ["KERAS_BACKEND"] = chosen
    return chosen


def choose() -> Choice:
    """Return which backend fits what this host has; neither of the two is imported.

    ``KERAS_BACKEND`` wins. Where there is a GPU: JAX if its CUDA plugin is installed,
    else TensorFlow if CUDA's libraries are. Without one: TensorFlow, whose CPU path is
    several times faster, or JAX where that is all there is.
    """
    asked = os.environ.get("KERAS_BACKEND")
    if asked:
        return Choice(asked, "KERAS_BACKEND asks for it")
    jax, tensorflow = (
        importlib.util.find_spec(name) is not None for name in ("jax", "tensorflow")
    )
    if has_gpu():
        if jax and _installed(JAX_PLUGINS):
            return Choice("jax", "this host has an NVIDIA GPU and JAX' CUDA plugin")
        if tensorflow and (_installed(CUDNN) or ctypes.util.find_library("cudnn")):
            return Choice(
                "tensorflow", "this host has an NVIDIA GPU, and JAX no plugin"
            )
    if tensorflow:
        return Choice("tensorflow", "the CPU computes, and TensorFlow is faster there")
    return Choice("jax", "TensorFlow is not installed")


def has_gpu() -> bool:
    """Return whether this host shows an NVIDIA GPU to this process."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and visible.strip() in ("", "-1", "NoDevFiles"):
        return False
    return any(glob.glob(pattern) for pattern in GPU_DEVICES)


def sentence() -> str:
    """Return what computes, and why it was chosen; Keras is imported for it."""
    import keras  # not before choose_backend

    backend, places = keras.backend.backend(), accelerators()
    said = f"{backend} on {', '.join(places) or 'the CPU'}"
    if has_gpu() and not places:
        said += (
            ", though this host has an NVIDIA GPU: this environment lacks what uses "
            "it. Install jax[cuda12], as deploy/docker/trainer-cuda.txt does"
        )
    return said


def _installed(distributions: Iterable[str]) -> bool:
    for name in distributions:
        with contextlib.suppress(importlib.metadata.PackageNotFoundError):
            importlib.metadata.version(name)
            return True
    return False


def accelerators() -> list[str]:
    """Return the names of the GPUs or TPUs; none on a machine with CPUs only."""
    return [name for name in _devices() if not name.lower().startswith("cpu")]


def jit_compile() -> bool | Literal["auto"]:
    """Return what ``compile`` should be told: XLA is slower on TensorFlow's CPU."""
    import keras  # not before choose_backend

    on_cpu = keras.backend.backend() == "tensorflow" and not accelerators()
    return False if on_cpu else "auto"


def precision(asked: str, *, wide: bool = False) -> str:
    """Return the dtype policy of layers that are trained in ``asked``.

    ``auto`` is ``mixed_bfloat16`` where there is an accelerator. Weights are float32
    whatever layers compute in.

    Args:
        asked: ``auto``, or a policy.
        wide: Whether layers have some 64 channels or more: then a CPU that has
            instructions for bfloat16 gains as well, by TensorFlow.
    """
    if asked != "auto":
        return asked
    return "mixed_bfloat16" if accelerators() or (wide and _cpu_knows()) else "float32"


def _cpu_knows() -> bool:
    """Return whether products of bfloat16 are fast on this CPU."""
    import keras  # not before choose_backend

    if keras.backend.backend() != "tensorflow" or not os.path.exists(CPU_FLAGS):
        return False
    with open(CPU_FLAGS, encoding="utf-8") as file:
        flags = next((line for line in file if line.startswith("flags")), "").split()
    return bool({"avx512_bf16", "amx_bf16"} & set(flags))


def scaled(optimizer: Any, policy: str) -> Any:
    """Return ``optimizer`` such that small gradients survive in ``policy``."""
    import keras  # not before choose_backend

    if policy != "mixed_float16":
        return optimizer
    return keras.optimizers.LossScaleOptimizer(optimizer)


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
            "JAX on a CPU trains about five times slower than TensorFlow: use "
            "TensorFlow here, or train where JAX sees a GPU."
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
