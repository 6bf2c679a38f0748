"""Builders that more than one test of models uses."""

import json

import numpy as np
import pytest

from models import tfrecord
from models.data import Examples
from models.spec import ImageShape
from models.transform import sha256_of


@pytest.fixture(scope="session")
def shape():
    return ImageShape(16, 12, 1)


@pytest.fixture
def make_pixels(shape):
    """Make uint8 images of two kinds, smooth enough to be learned."""

    def make(count, seed=0, shape=shape):
        rng = np.random.default_rng(seed)
        ramp = np.linspace(0, 200, shape.height)[None, :, None, None]
        images = np.broadcast_to(ramp, (count, *shape)).copy()
        images[::2] = images[::2, ::-1]
        noise = rng.integers(0, 40, (count, 1, 1, shape.channels))
        return (images + noise).astype(np.uint8)

    return make


@pytest.fixture(scope="session")
def make_transform(tmp_path_factory, shape):
    """Write the folder of a transform per channel, by hand."""

    def make(shape=shape):
        folder = tmp_path_factory.mktemp("transform")
        (folder / "transform_fn").mkdir(parents=True)
        (folder / "transform_fn" / "saved_model.pb").write_bytes(b"not run here")
        mean = [0.5 + 0.1 * channel for channel in range(shape.channels)]
        std = [0.25 + 0.1 * channel for channel in range(shape.channels)]
        values = np.arange(256, dtype=np.float32)[:, None] / 255
        table = (values - np.float32(mean)) / np.float32(std)
        np.save(folder / "lookup.npy", table.astype(np.float32))
        names = ("lookup.npy", "transform_fn/saved_model.pb")
        card = {
            "format_version": 1,
            "transform_id": "t" * 16,
            "image_spec_id": "i" * 16,
            **shape._asdict(),
            "normalise": "per_channel",
            "mean": mean,
            "std": std,
            "files": {name: sha256_of(str(folder / name)) for name in names},
        }
        (folder / "transform.json").write_text(json.dumps(card))
        return str(folder)

    return make


@pytest.fixture
def write_examples(tmp_path, shape):
    """Write normalised images as a file of examples; return its path."""

    def write(name, images, labels=None):
        payloads = []
        for number, image in enumerate(images):
            features = {"image": image, "image_id": f"{name}{number}".encode()}
            if labels:
                features["label"] = labels[number].encode()
            payloads.append(tfrecord.encode_example(features))
        path = tmp_path / f"{name}.tfrecord"
        with path.open("wb") as file:
            tfrecord.write_frames(file, payloads)
        return str(path)

    return write


@pytest.fixture
def normalised(make_pixels):
    """Make images as an encoder takes them."""
    return lambda count, seed=0: make_pixels(count, seed).astype(np.float32) / 64 - 2


@pytest.fixture
def examples(write_examples, normalised, shape):
    """Make forty examples to train on in two files, and ten held out."""
    images = normalised(50)
    files = [write_examples("a", images[:25]), write_examples("b", images[25:40])]
    held_out = write_examples("c", images[40:])
    return Examples(files, shape), Examples([held_out], shape)
