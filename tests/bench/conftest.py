import gzip
import pathlib
import sys

import numpy as np
import pytest

sys.path.append(str(pathlib.Path(__file__).parents[2] / "bench"))

from quality import datasets
from quality.datasets import Dataset

from models.spec import ImageShape

SHAPE = ImageShape(8, 8, 1)


@pytest.fixture(scope="session")
def tiny(tmp_path_factory) -> Dataset:
    """A dataset of two classes, a bright left or a bright right half, as IDX files."""
    folder = tmp_path_factory.mktemp("idx")
    rng = np.random.default_rng(0)
    for prefix, count in (("train", 96), ("t10k", 32)):
        labels = np.arange(count, dtype=np.uint8) % 2
        pixels = rng.integers(0, 120, (count, 8, 8), dtype=np.uint8)
        pixels[labels == 0, :, :4] += 100
        pixels[labels == 1, :, 4:] += 100
        for kind, data in (("images-idx3", pixels), ("labels-idx1", labels)):
            head = bytes(16 if data.ndim == 3 else 8)
            with gzip.open(folder / f"{prefix}-{kind}-ubyte.gz", "wb") as file:
                file.write(head + data.tobytes())
    return Dataset("tiny", "Tiny", folder, SHAPE, datasets.idx, "make it")
