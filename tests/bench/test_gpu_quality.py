import io
import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image
from pyarrow import parquet

BENCH = pathlib.Path(__file__).parents[2] / "bench"
LEAST = (
    *("--width", "8", "--projector", "32", "32", "--latent-dim", "32"),
    *("--batch", "32", "--matrix", "128", "--minutes", "0.1"),
)


def write(file, count):
    """Write images of two classes, light above or light below, as a Parquet file."""
    rng = np.random.default_rng(count)
    images, labels = [], np.arange(count) % 2
    for label in labels:
        pixels = rng.integers(0, 150, (16, 16, 3), dtype=np.uint8)
        pixels[:8] += np.uint8(100 * label)
        pixels[8:] += np.uint8(100 * (1 - label))
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        images.append(stream.getvalue())
    names = pa.array(["below", "above"]).take(pa.array(labels))
    parquet.write_table(pa.table({"image": images, "label": names}), file)


@pytest.mark.slow
def test_a_tiny_network_is_trained_within_a_budget_and_judged(tmp_path):
    write(tmp_path / "train-0.parquet", 192)
    write(tmp_path / "test-0.parquet", 60)

    done = subprocess.run(
        [sys.executable, BENCH / "gpu_quality.py", "--data", tmp_path, *LEAST],
        env=os.environ | {"KERAS_BACKEND": "jax"},
        stdout=subprocess.PIPE,
        check=True,
        cwd=BENCH.parent,
    )

    figures = [json.loads(line) for line in done.stdout.splitlines()]
    ours = {figure["name"]: figure["ours"] for figure in figures if "ours" in figure}
    assert ours["linear"] > 80
    assert ours["k-NN"] > 80
    assert 5 < ours["PSNR"] < 60
    assert 0 < ours["training steps, share of float32 peak"] < 1.5
    assert ours["training steps, float32"] > 1
    assert ours["encode, float32"] > 1
    first, last = ours["loss, first and last epoch"]
    assert last < first
