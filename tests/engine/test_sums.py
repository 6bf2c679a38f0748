"""Totals that Beam adds up, against those that one process adds up."""

import os

import fsspec
import keras
import numpy as np
import pytest

from models import readout, sums, tfrecord
from models.data import Examples
from models.spec import ImageShape
from models.transform import sha256_of
from pipelines.config import EngineSettings
from pipelines.engine import sums as engine
from pipelines.engine.job import Job
from pipelines.errors import ArtifactMismatch
from pipelines.lake.nearby import FarFile

SHAPE = ImageShape(8, 6, 2)


@pytest.fixture
def files(tmp_path):
    """Write three files of examples, one of them longer than a batch."""
    rng = np.random.default_rng(0)
    paths = []
    for name, count in (("a", 300), ("b", 7), ("c", 40)):
        images = rng.normal(size=(count, SHAPE.size)).astype(np.float32)
        payloads = [
            tfrecord.encode_example({"image": one, "image_id": b"%d" % row})
            for row, one in enumerate(images)
        ]
        paths.append(str(tmp_path / f"{name}.tfrecord"))
        with open(paths[-1], "wb") as file:
            tfrecord.write_frames(file, payloads)
    return paths


@pytest.fixture
def job(tmp_path):
    settings = EngineSettings(workers=2)
    return Job(settings, [], "latentlake test", str(tmp_path / "workers"))


@pytest.fixture(scope="module")
def moments():
    """Return the moments of what a small network makes of images."""
    keras.utils.set_random_seed(0)
    images = keras.Input(tuple(SHAPE))
    found = keras.layers.Conv2D(3, 3, activation="relu")(images)
    return readout.Moments(keras.Model(images, keras.layers.Flatten()(found)))


def assert_same(one, other):
    assert len(one) == len(other)
    for mine, theirs in zip(one, other, strict=True):
        np.testing.assert_array_equal(mine, theirs)


def test_beam_adds_up_what_one_process_does_in_any_order(files, job, moments):
    turned = Examples(files[::-1], SHAPE)

    found = engine.over_files(job, {})(moments, turned, None)

    assert found[0] == 347
    assert_same(found, sums.over_examples(moments, Examples(files, SHAPE)))
    assert not [one for one in os.listdir(os.path.dirname(job.folder)) if "work" in one]


def test_a_worker_fetches_from_a_bucket_what_a_cap_leaves(
    files, job, moments, tmp_path, monkeypatch
):
    monkeypatch.setenv("LATENTLAKE_CACHE", str(tmp_path / "cache"))
    examples = Examples(files, SHAPE)
    wanted = sums.over_examples(moments, examples, 100)
    examples = Examples(files, SHAPE)
    bucket, far = fsspec.filesystem("memory"), {}
    for path in files:
        there = f"/{tmp_path.name}/{os.path.basename(path)}"
        bucket.put(path, there)
        size = os.path.getsize(path)
        far[path] = FarFile(f"memory:/{there}", size, sha256_of(path))
        os.unlink(path)

    found = engine.over_files(job, far)(moments, examples, 100)

    assert found[0] == 100
    assert_same(found, wanted)


def test_a_damaged_file_is_named(files, job, moments):
    examples = Examples(files, SHAPE)
    with open(files[1], "r+b") as file:
        file.seek(60)
        file.write(b"????")

    with pytest.raises(ArtifactMismatch, match=files[1]):
        engine.over_files(job, {})(moments, examples, None)


def test_a_total_of_nothing_is_refused(files, job, moments):
    with pytest.raises(ValueError, match="no images"):
        engine.over_files(job, {})(moments, Examples([], SHAPE), None)
