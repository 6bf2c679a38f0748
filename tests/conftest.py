"""Fixtures used by more than one test file."""

import hashlib
import os
import pathlib

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from pipelines.config import Settings
from pipelines.lake import inventory, pointer, store, tables
from pipelines.lake import run as runs
from pipelines.lake.layout import Lake
from pipelines.lake.run import Run
from pipelines.lake.shards import INVENTORY_SCHEMA

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

SHARED = pathlib.Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """Return the folder of real data that lies beside some checkouts."""
    if not SHARED.is_dir():
        pytest.skip(f"no real data beside this checkout ({SHARED.name} is missing)")
    return SHARED


class Nights:
    """Staged nights without images or models: real files, real tables.

    An image is a word; its digest is that of the word, its latent follows from both
    the digest and the space.
    """

    latent_dim = 4

    def __init__(self, root: pathlib.Path) -> None:
        self.lake = Lake(str(root), "digits")
        self.settings = Settings.model_validate({"source": {"path": "/src"}})
        self._shards: dict[str, list[str]] = {}

    def accept(self, space_id: str, eval_error: float | None = 0.5) -> None:
        """Accept an encoder of ``space_id``."""
        run = Run(self.lake, "by-hand", "2026-01-01", self.settings)
        card = {
            "space_id": space_id,
            "latent_dim": self.latent_dim,
            "image_spec_id": run.image_spec_id,
            "encoder": self.settings.encoder.model_dump(mode="json"),
            "transform": self.settings.transform.model_dump(mode="json"),
        }
        store.write_json(self.lake.encoder(space_id, "card.json"), card)
        pointer.accept(self.lake, space_id, run, eval_error=eval_error)

    def begin(self, night: str, number: int = 1) -> Run:
        """Pin a run to the tables as they are."""
        tables.ensure(self.lake)
        base = tables.main_ids(self.lake)
        run = Run(
            self.lake,
            f"{night}-{number}",
            night,
            self.settings,
            images_base=base.images,
            features_base=base.features,
        )
        runs.pin(run)
        return run

    def ingest(
        self, run: Run, entries: dict[str, str], gone: tuple[str, ...] = (), **fields
    ) -> None:
        """Stage ``entries`` (URI to word; an empty word is rejected)."""
        base = tables.read_images(self.lake, run.images_base)
        known = set(base.filter(base["shard"].is_valid())["image_id"].to_pylist())
        ids = {
            word: hashlib.sha256(word.encode()).hexdigest() for word in entries.values()
        }
        fresh = [i for i in sorted(set(ids.values()) - known) if i != ids.get("")]
        digest = hashlib.sha256(repr(fresh).encode()).hexdigest()[:8]
        shard = f"{run.image_spec_id}/{run.night}/{digest}.tfrecord"
        self._shards[shard] = fresh
        rows = []
        for uri, word in entries.items():
            row = dict.fromkeys(INVENTORY_SCHEMA.names) | {"source_uri": uri} | fields
            if not word:
                row |= {"outcome": "rejected", "reason": "empty"}
            elif ids[word] in fresh:
                place = {"shard": shard, "row": fresh.index(ids[word])}
                size = {"width": 9, "height": 8, "format": "png"}
                row |= {"outcome": "decoded", "image_id": ids[word]} | place | size
            else:
                row |= {"outcome": "known", "image_id": ids[word]}
            rows.append(row)
        inventory.stage(run, pa.Table.from_pylist(rows, INVENTORY_SCHEMA), gone)

    def encode(self, run: Run, **wrong) -> None:
        """Write the latents of every shard in the accepted space."""
        space_id = pointer.read(self.lake).space_id
        for shard, ids in self._shards.items():
            _, night, name = shard.split("/")
            path = self.lake.latents(space_id, f"{night}-{name[:8]}.parquet")
            columns = {
                "image_id": pa.array(ids, pa.string()),
                "row": pa.array(range(len(ids)), pa.int32()),
                "latent": pa.array(
                    [self.latent(i, space_id) for i in ids], pa.list_(pa.float32())
                ),
                "reconstruction_error": pa.array([0.25] * len(ids), pa.float32()),
            }
            for column, value in wrong.items():
                columns[column] = pa.array([value] * len(ids), columns[column].type)
            with store.aside(path) as file:
                parquet.write_table(pa.table(columns), file)

    def latent(self, image_id: str, space_id: str) -> list[float]:
        """Return the latent of an image in a space."""
        seed = int(hashlib.sha256((image_id + space_id).encode()).hexdigest()[:8], 16)
        return np.random.default_rng(seed).normal(size=self.latent_dim).tolist()

    def night(
        self, night: str, entries: dict[str, str], gone: tuple[str, ...] = (), **fields
    ) -> Run:
        """Return a run that is ready to publish."""
        run = self.begin(night)
        self.ingest(run, entries, gone, **fields)
        self.encode(run)
        return run

    def rows(self, *columns: str) -> list[dict]:
        """Return the published rows of the feature table, by image."""
        features = tables.main_ids(self.lake).features
        return (
            tables.read_features(self.lake, features, columns or None)
            .sort_by("image_id" if not columns or "image_id" in columns else columns[0])
            .to_pylist()
        )

    def statuses(self) -> dict[str, str]:
        """Return the status of each entry of the image table."""
        rows = tables.read_images(self.lake, tables.main_ids(self.lake).images)
        return dict(
            zip(rows["source_uri"].to_pylist(), rows["status"].to_pylist(), strict=True)
        )


@pytest.fixture
def nights(tmp_path: pathlib.Path) -> Nights:
    """Return a lake to stage nights in, with an accepted encoder."""
    made = Nights(tmp_path / "lake")
    made.accept("space-one")
    return made
