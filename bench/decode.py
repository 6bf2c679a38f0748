"""Measure `canonicalise` against the bare loop it cannot beat: decode and resize.

Both loops run in turn in one process on one core, over JPEGs already in memory, and
give the same pixels; CPU time, the best of several rounds. The bare loop
does nothing else: no checks, no EXIF, no format, no sizes.

    python bench/decode.py [--data FOLDER] [--rounds 7]
"""

import argparse
import hashlib
import json
import os
import pathlib
import time
from collections.abc import Callable

import cv2
import numpy as np
import pyarrow.parquet as pq
import simplejpeg

from pipelines.config import ImageSettings
from pipelines.media.geometry import needed_size
from pipelines.media.image import canonicalise

DATA = pathlib.Path(__file__).parents[2] / "shared" / "data"


def main() -> None:
    """Print one line for each set of images and size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=pathlib.Path, default=DATA)
    parser.add_argument("--rounds", type=int, default=7)
    flags = parser.parse_args()
    if not flags.data.is_dir():
        print(json.dumps({"name": "no images beside this checkout: skipped"}))
        return
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})
    small = images(flags.data / "cifar10/test-00000-of-00001.parquet", 4000)
    photos = images(flags.data / "grocery/val.parquet", 200)
    for name, data, side in (
        ("CIFAR-10", small, 32),
        ("CIFAR-10", small, 64),
        ("grocery", photos, 64),
        ("grocery", photos, 224),
    ):
        compare(name, data, ImageSettings(height=side, width=side), flags.rounds)


def images(path: pathlib.Path, count: int) -> list[bytes]:
    """Return the first encoded images of a Parquet file."""
    file = pq.ParquetFile(path)
    batch = next(file.iter_batches(batch_size=count, columns=["image"]))
    return [bytes(data) for data in batch["image"].to_pylist()]


def compare(name: str, data: list[bytes], spec: ImageSettings, rounds: int) -> None:
    """Print the two rates and their ratio, without and with the digest of the bytes."""
    bare = bare_loop(spec, data[0])
    ours = lambda one: canonicalise(one, spec)  # noqa: E731 - two loops, one shape
    best = {"bare": 1e9, "ours": 1e9, "bare+sha256": 1e9, "ours+sha256": 1e9}
    for _ in range(rounds):
        best["bare"] = min(best["bare"], seconds(bare, data))
        best["ours"] = min(best["ours"], seconds(ours, data))
        best["bare+sha256"] = min(best["bare+sha256"], seconds(hashed(bare), data))
        best["ours+sha256"] = min(best["ours+sha256"], seconds(hashed(ours), data))
    rate = {key: len(data) / value for key, value in best.items()}
    for what, tail in (("", ""), (" with sha256", "+sha256")):
        ours, limit = rate[f"ours{tail}"], rate[f"bare{tail}"]
        figure = {
            "name": f"{name} to {spec.width} px{what}",
            "ours": round(ours),
            "limit": round(limit),
            "ratio": round(ours / limit, 3),
            "unit": "images/CPU-s",
        }
        print(json.dumps(figure), flush=True)


def bare_loop(spec: ImageSettings, sample: bytes) -> Callable[[bytes], np.ndarray]:
    """Return the shortest function that gives the same pixels."""
    size = (spec.width, spec.height)
    height, width, *_ = simplejpeg.decode_jpeg_header(sample)
    if (width, height) == size:
        return lambda one: simplejpeg.decode_jpeg(one, "RGB")
    if min(width, height) < min(size):
        return lambda one: cv2.resize(simplejpeg.decode_jpeg(one, "RGB"), size)

    def shrink(one: bytes) -> np.ndarray:
        height, width, *_ = simplejpeg.decode_jpeg_header(one)
        least = needed_size(width, height, spec)[::-1]
        pixels = simplejpeg.decode_jpeg(one, "RGB", False, False, *least, 2)
        side = min(pixels.shape[:2])
        top, left = (pixels.shape[0] - side) // 2, (pixels.shape[1] - side) // 2
        middle = np.ascontiguousarray(pixels[top : top + side, left : left + side])
        return cv2.resize(middle, size, interpolation=cv2.INTER_AREA)

    return shrink


def hashed(function: Callable[[bytes], object]) -> Callable[[bytes], object]:
    """Return ``function`` with the digest of the bytes taken besides."""

    def both(one: bytes) -> object:
        hashlib.sha256(one).hexdigest()
        return function(one)

    return both


def seconds(function: Callable[[bytes], object], data: list[bytes]) -> float:
    """Return the CPU time that ``function`` takes over all of ``data``."""
    start = time.process_time()
    for one in data:
        function(one)
    return time.process_time() - start


if __name__ == "__main__":
    main()
