"""Builders that more than one test of stages uses."""

import dataclasses
import hashlib
import pathlib

import numpy as np
import pyarrow as pa
import pytest

from pipelines import config
from pipelines.lake import inventory, shards, tables
from pipelines.lake import run as runs
from pipelines.lake.layout import Lake
from pipelines.lake.run import Run
from pipelines.lake.shards import INVENTORY_SCHEMA, ShardImage

SIDE = 16


@dataclasses.dataclass
class Staged:
    """Runs whose images are ingested already: real shards, real inventories."""

    root: pathlib.Path

    def run(self, run_id: str = "2026-01-01-1", **sections) -> Run:
        """Return a run pinned to the tables as they are."""
        settings = config.parse(
            {
                "source": {"path": "/images"},
                "image": {"height": SIDE, "width": SIDE},
                "encoder": {"preset": "conv", "widths": [4, 8], "latent_dim": 6},
                "train": {"epochs": 1, "min_images": 10},
                "engine": {"workers": 1},
                **sections,
            },
            origin="test",
        )
        lake = Lake(str(self.root / "lake"), "birds")
        tables.ensure(lake)
        base = tables.main_ids(lake)
        run = Run(
            lake,
            run_id,
            run_id[:10],
            settings,
            images_base=base.images,
            features_base=base.features,
        )
        runs.pin(run)
        return run

    def ingest(self, run: Run, sizes: dict[str, list[int]]) -> Run:
        """Stage shards of so many images for each night; return the run."""
        rows = []
        for night, counts in sizes.items():
            for number, count in enumerate(counts):
                digest = hashlib.sha256(f"{night}{number}".encode()).hexdigest()[:16]
                name = f"{run.image_spec_id}/{night}/{digest}.tfrecord"
                images = self._images(run, name, count)
                shards.write_shard(run.lake.shard_file(name), images)
                rows += [_row(name, row, one) for row, one in enumerate(images)]
        inventory.stage(run, pa.Table.from_pylist(rows, INVENTORY_SCHEMA), [])
        return run

    def _images(self, run: Run, name: str, count: int) -> list[ShardImage]:
        seed = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)
        rng = np.random.default_rng(seed)
        shape = (count, SIDE, SIDE, run.settings.image.channels)
        pixels = rng.integers(0, 200, shape, np.uint8)
        return [
            ShardImage(hashlib.sha256(one.tobytes()).hexdigest(), one, f"l{row % 2}")
            for row, one in enumerate(pixels)
        ]


def _row(shard: str, row: int, image: ShardImage) -> dict:
    place = {"shard": shard, "row": row, "width": 20, "height": 20, "format": "png"}
    return (
        dict.fromkeys(INVENTORY_SCHEMA.names)
        | place
        | {
            "source_uri": f"/images/{image.image_id}.png",
            "image_id": image.image_id,
            "outcome": "decoded",
            "label": image.label,
        }
    )


@pytest.fixture
def staged(tmp_path: pathlib.Path) -> Staged:
    """Return a builder of runs whose images are ingested already."""
    return Staged(tmp_path)


def _content(folder: str) -> dict[str, bytes]:
    root = pathlib.Path(folder)
    return {
        str(path.relative_to(root)): path.read_bytes()
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.startswith(".")
    }


@pytest.fixture(scope="module")
def staged_once(tmp_path_factory: pytest.TempPathFactory) -> Staged:
    """Return such a builder for what all tests of a file look at."""
    return Staged(tmp_path_factory.mktemp("staged"))


@pytest.fixture
def content():
    """Return a function: the bytes of all files below a folder, but those aside."""
    return _content
