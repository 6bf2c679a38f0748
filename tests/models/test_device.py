import subprocess
import sys

import pytest

from models import device


@pytest.fixture
def host(tmp_path, monkeypatch):
    """Return a function that says what this host has, as far as can be seen of it."""
    for name in ("KERAS_BACKEND", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)

    def have(*, gpu=False, plugin=False, cudnn=False):
        if gpu:
            (tmp_path / "nvidia0").touch()
        monkeypatch.setattr(device, "GPU_DEVICES", (str(tmp_path / "nvidia[0-9]*"),))
        for name, there in (("JAX_PLUGINS", plugin), ("CUDNN", cudnn)):
            monkeypatch.setattr(device, name, ("keras",) if there else ("no-such",))

    return have


@pytest.mark.parametrize(
    ("has", "backend", "why"),
    [
        ({}, "tensorflow", "the CPU"),
        ({"plugin": True, "cudnn": True}, "tensorflow", "the CPU"),
        ({"gpu": True, "plugin": True, "cudnn": True}, "jax", "JAX' CUDA plugin"),
        ({"gpu": True, "cudnn": True}, "tensorflow", "JAX no plugin"),
        ({"gpu": True}, "tensorflow", "the CPU"),
    ],
)
def test_what_sees_the_gpu_is_chosen_jax_first(host, has, backend, why):
    host(**has)

    found = device.choose()

    assert found.backend == backend
    assert why in found.why


def test_a_gpu_that_is_hidden_from_this_process_does_not_count(host, monkeypatch):
    host(gpu=True, plugin=True)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")

    assert device.choose().backend == "tensorflow"


def test_what_the_environment_asks_for_wins(host, monkeypatch):
    host(gpu=True, cudnn=True)
    monkeypatch.setenv("KERAS_BACKEND", "jax")

    assert device.choose() == ("jax", "KERAS_BACKEND asks for it")


def test_a_gpu_that_nothing_installed_uses_is_told_of(host):
    host(gpu=True)

    said = device.sentence()

    assert "on the CPU, though this host has an NVIDIA GPU" in said


def test_choosing_imports_neither():
    code = (
        "import sys; from models import device; device.choose();"
        "sys.exit(bool({'jax', 'tensorflow', 'keras', 'numpy'} & set(sys.modules)))"
    )

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
