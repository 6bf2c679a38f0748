"""What every preset promises, whatever it is: one small fit of each, many questions."""

import json
import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest

from models import artifact, metrics, tfrecord
from models.data import Examples
from models.fit import fit
from models.presets import registry
from models.section import TrainSettings
from models.settings import PRESETS
from models.spec import ImageShape
from models.task import Data, Task

SHAPE = ImageShape(12, 10, 3)
HALF = "mixed_bfloat16"
SMALL_PATCHES = {"atoms": 16, "patch_side": 4, "components": 12, "patches": 1500}
FUSED = (
    *("conv.latent_dim = 6", "conv.widths = [4, 8]", "patch.latent_dim = 8"),
    *("patch.slow_features = 4", "patch.patches = 1500", "patch.atoms = 16"),
    *("patch.patch_side = 4", "patch.components = 12"),
)
TINY = {
    "conv": {"latent_dim": 6, "widths": (4, 8)},
    "patch": {"latent_dim": 8, "slow_features": 4, **SMALL_PATCHES},
    "fusion": {"latent_dim": 8, "overrides": FUSED},
    "instance": {"latent_dim": 8, "slow_features": 4, **SMALL_PATCHES}
    | {"trunk": (8, 16), "negatives": 32, "stride": 1, "precision": "float32"},
    "resnet": {"latent_dim": 8, "width": 8, "blocks": (1, 1), "projector": (16, 16)}
    | {"precision": HALF},
    "vit": {"latent_dim": 8, "width": 8, "depth": 1, "heads": 2, "decoder_depth": 1}
    | {"decoder_width": 8, "mask": 0.5, "precision": HALF},
}
"""The least of each preset that still learns."""
RATES = {"resnet": 0.1}
"""A learning rate where 0.005 is not right."""
ENCODED = """
import json, sys
import numpy as np
from models import artifact

given = json.loads(sys.argv[1])
pixels, found = np.load(given["pixels"]), {}
for name, folder in given["folders"].items():
    latents, painted = artifact.load(folder).encode_and_reconstruct(pixels)
    found |= {f"{name}-latents": latents, f"{name}-painted": painted}
np.savez(given["to"], **found)
"""


def blurred(count, seed=0):
    """Make images of a few soft blots: uint8, as they are in a shard."""
    rng = np.random.default_rng(seed)
    coarse = rng.normal(size=(count, 3, 2, 3)).repeat(4, axis=1).repeat(5, axis=2)
    fine = coarse + 0.2 * rng.normal(size=coarse.shape)
    return np.clip(128 + 50 * fine, 0, 255).astype(np.uint8)


def write(path, images):
    with path.open("wb") as file:
        payloads = (
            tfrecord.encode_example({"image": one, "image_id": b"%d" % row})
            for row, one in enumerate(images)
        )
        tfrecord.write_frames(file, payloads)
    return str(path)


@pytest.fixture(scope="module")
def transform(make_transform):
    return make_transform(SHAPE)


@pytest.fixture(scope="module")
def data(tmp_path_factory, transform):
    """Return the examples that every preset is fitted to."""
    folder = tmp_path_factory.mktemp("examples")
    table = np.load(os.path.join(transform, "lookup.npy"))
    images = table[blurred(160), np.arange(3)]
    files = [
        write(folder / "train.tfrecord", images[:128]),
        write(folder / "eval.tfrecord", images[128:]),
    ]
    return Data(*(Examples([file], SHAPE) for file in files))


@pytest.fixture(scope="module")
def fits(data, tmp_path_factory):
    """Fit each preset when it is first asked for, and only then."""
    found = {}

    def get(name):
        if name not in found:
            train = TrainSettings(
                epochs=5, batch_size=32, learning_rate=RATES.get(name, 5e-3)
            )
            found[name] = fit(
                Task(
                    encoder=PRESETS[name](**TINY[name]),
                    train=train,
                    data=data,
                    folder=str(tmp_path_factory.mktemp(name)),
                )
            )
        return found[name]

    return get


@pytest.fixture(scope="module")
def folders(fits, transform, tmp_path_factory):
    """Keep each preset's encoder when it is first asked for; return its folder."""
    found = {}

    def get(name):
        if name not in found:
            found[name] = str(tmp_path_factory.mktemp("encoders") / name)
            fitted = fits(name)
            artifact.save(found[name], fitted.encoder, fitted.decoder, transform, {})
        return found[name]

    return get


LONG = {"resnet", "vit"}
"""Presets whose layers take Keras seconds to trace: asked with the slow tests."""


def presets(without=()):
    """Ask every preset, the long ones with the slow tests."""
    names = sorted(set(registry.PRESETS) - set(without))
    long = [[pytest.mark.slow] if name in LONG else [] for name in names]
    given = zip(names, long, strict=True)
    return pytest.mark.parametrize("name", [pytest.param(n, marks=m) for n, m in given])


every_preset = presets()


def test_every_preset_has_settings_and_is_asked_here():
    assert set(registry.PRESETS) == set(PRESETS)
    assert set(registry.PRESETS) <= set(TINY)


@every_preset
def test_an_image_becomes_a_latent_of_float32_and_an_image_again(name, fits, data):
    found, images = fits(name), data.train.read(range(9)).images

    latents = found.encoder.predict_on_batch(images)
    painted = found.decoder.predict_on_batch(latents)

    assert latents.shape == (9, TINY[name]["latent_dim"])
    assert latents.dtype == painted.dtype == np.float32
    assert painted.shape == images.shape
    assert keras.config.dtype_policy().name == "float32"


@every_preset
def test_latents_are_centred_and_none_is_dead_or_loud(name, fits, data):
    images = data.train.read(range(len(data.train))).images

    latents = fits(name).encoder.predict_on_batch(images)

    np.testing.assert_allclose(latents.mean(axis=0), 0, atol=1e-2)
    assert latents.var(axis=0).max() < 1.01
    assert metrics.dead_dimensions(latents) == 0


@presets(without=["conv"])
def test_a_fitted_decoder_paints_better_than_the_mean_image(name, fits, data):
    images = data.held_out.read(range(len(data.held_out))).images
    mean = data.train.read(range(len(data.train))).images.mean(axis=0)
    found = fits(name)

    painted = found.decoder.predict_on_batch(found.encoder.predict_on_batch(images))

    assert np.square(painted - images).mean() < 0.9 * np.square(mean - images).mean()


@every_preset
def test_a_few_steps_lower_the_loss(name, fits):
    if PRESETS[name].CLOSED_FORM or name == "fusion":
        pytest.skip("it takes no steps of its own")

    losses = [one["loss"] for one in fits(name).trained.history]

    assert len(losses) == 5
    assert min(losses[-2:]) < 0.97 * losses[0]


@every_preset
def test_a_saved_encoder_gives_the_same_latents_when_loaded(name, fits, folders):
    pixels = blurred(7, seed=1)

    loaded = artifact.load(folders(name))

    images = loaded.transform.look_up(pixels)
    straight = fits(name).encoder.predict_on_batch(images)
    np.testing.assert_allclose(loaded.encode(pixels), straight, atol=1e-5)


@pytest.mark.slow
def test_tensorflow_and_jax_agree_on_every_preset(folders, tmp_path):
    pixels = tmp_path / "pixels.npy"
    np.save(pixels, blurred(40, seed=2))
    given = {"pixels": str(pixels)}
    given["folders"] = {name: folders(name) for name in registry.PRESETS}

    def by(backend):
        to = str(tmp_path / f"{backend}.npz")
        root = pathlib.Path(artifact.__file__).parents[1]
        subprocess.run(
            [sys.executable, "-c", ENCODED, json.dumps(given | {"to": to})],
            env=os.environ | {"KERAS_BACKEND": backend},
            cwd=root,
            check=True,
        )
        return np.load(to)

    tensorflow, jax = by("tensorflow"), by("jax")

    assert len(tensorflow.files) == 2 * len(registry.PRESETS)
    for name in tensorflow.files:
        np.testing.assert_allclose(jax[name], tensorflow[name], atol=1e-4)
