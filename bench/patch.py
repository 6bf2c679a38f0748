"""Measure where preset ``patch`` spends its time encoding, and how near BLAS it is.

An encoder of random weights: what it costs does not depend on them. One core, one
thread, CPU time, the best of several rounds; a layer's line is the time of all layers
up to it.

    python bench/patch.py [--atoms 400] [--batch 64]
"""

import argparse
import json
import os
import time
from collections.abc import Callable

os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"), "1"))
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ["TF_NUM_INTRAOP_THREADS"] = os.environ["TF_NUM_INTEROP_THREADS"] = "1"

import keras
import numpy as np

from models import device, readout
from models.dictionary import Dictionary
from models.presets import patch
from models.settings import PatchSettings
from models.spec import ImageShape
from models.whitening import Whitening

SHAPE = ImageShape(32, 32, 3)
IMAGES = 4096
SQUARE = 2048
BATCHES = (16, 32, 64, 128, 256)


def main() -> None:
    """Print the figures as JSON, one a line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--atoms", type=int, default=400)
    parser.add_argument("--batch", type=int, default=64)
    flags = parser.parse_args()
    features, model = build(PatchSettings(atoms=flags.atoms))
    rng = np.random.default_rng(0)
    square = rng.normal(size=(SQUARE, SQUARE)).astype(np.float32)
    peak = 2e-9 * SQUARE**3 / seconds(lambda: square @ square, 6)
    work = 2e-9 * (multiplications(features) + multiplications(model))
    print(json.dumps({"sgemm_gflops": round(peak), "gflop_an_image": round(work, 5)}))
    for size in BATCHES:
        found = rate(model, size)
        share = round(found * work / peak, 3)
        print(json.dumps({"batch": size, "images_s": round(found), "of_peak": share}))
    for layer in features.layers:
        if not isinstance(layer, keras.layers.InputLayer | keras.layers.Flatten):
            part = rate(keras.Model(features.inputs, layer.output), flags.batch)
            print(
                json.dumps({"up_to": layer.name, "us_an_image": round(1e6 / part, 1)})
            )
    whole = 1e6 / rate(model, flags.batch)
    print(json.dumps({"up_to": "all", "us_an_image": round(whole, 1)}))


def build(settings: PatchSettings) -> tuple[keras.Model, keras.Model]:
    """Return features of random weights, and the encoder that whitens them."""
    rng = np.random.default_rng(0)
    values = settings.patch_side**2 * SHAPE.channels
    atoms = Dictionary(
        rng.normal(size=(values, settings.components)),
        rng.normal(size=(settings.components, settings.atoms)),
        rng.normal(size=settings.atoms),
    )
    codes = patch.build_codes(SHAPE, settings, atoms)
    numbers = settings.slow_features
    kernel = rng.normal(size=(codes.output_shape[-1], numbers))
    features = patch.build_features(codes, kernel, np.zeros(numbers), settings)
    groups = patch.groups_of(features, settings)
    maps = []
    for one, group in zip(features.outputs, groups, strict=True):
        forward = rng.normal(size=(one.shape[-1], group.numbers))
        maps.append(Whitening(np.zeros(len(forward)), forward, forward.T))
    return features, readout.encoder(features, groups, maps)


def multiplications(model: keras.Model) -> float:
    """Return the multiplications of matrices that one image takes."""
    total = 0
    for layer in model.layers:
        if isinstance(layer, keras.layers.Conv2D | keras.layers.Dense):
            places = np.prod(layer.output.shape[1:-1], dtype=int)
            total += int(places) * int(np.prod(layer.kernel.shape))
    return float(total)


def rate(model: keras.Model, size: int) -> float:
    """Return images in a CPU second, in batches of ``size``."""
    images = np.random.default_rng(0).normal(size=(size, *SHAPE)).astype(np.float32)
    device.settle(model)
    best = seconds(lambda: model.predict_on_batch(images), IMAGES // size)
    return size / best


def seconds(work: Callable[[], object], rounds: int) -> float:
    """Return the CPU seconds of ``work``, the best of some rounds."""
    work()
    best = float("inf")
    for _ in range(rounds):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best


if __name__ == "__main__":
    main()
