"""A real Flink of two hosts, and stages run as commands against it."""

import json
import os
import pathlib
import subprocess
import sys

import flink_cluster
import flink_install
import flink_network
import pytest
from pyarrow import parquet

NIGHT = "2026-01-01"
RUN = f"{NIGHT}-1"
IMAGES = 10_000
PATIENCE_S = 1200


@pytest.fixture(scope="session")
def two_hosts() -> None:
    """Skip where this machine cannot have a cluster of two hosts."""
    lacking = flink_install.lacking()
    if lacking:
        pytest.skip(f"no Flink here: {lacking}")
    refused = flink_network.refused()
    if refused:
        pytest.skip(f"no two hosts here: {refused}")


@pytest.fixture(scope="session")
def cluster(two_hosts, tmp_path_factory):
    """Yield a cluster of two hosts of one slot each."""
    with flink_cluster.serving(tmp_path_factory.mktemp("flink")) as made:
        yield made


class Place:
    """A lake and its dataset, worked on by commands."""

    def __init__(self, root: pathlib.Path, source: str, engine: dict, **sections):
        self.lake = root / "lake"
        self.file = root / "cifar.toml"
        root.mkdir(parents=True, exist_ok=True)
        settings = {
            "source": {"path": source},
            "image": {"height": 32, "width": 32},
            "encoder": {"preset": "conv", "widths": [8, 16], "latent_dim": 8},
            "train": {"epochs": 1, "min_images": 10},
            **sections,
            "engine": {"chunk_size": 64, **engine},
        }
        self.file.write_text(
            "\n".join(
                f"[{name}]\n"
                + "\n".join(
                    f"{key} = {json.dumps(value)}" for key, value in one.items()
                )
                for name, one in settings.items()
            )
        )

    def start(self, stage: str, *flags: str) -> subprocess.Popen:
        """Start ``stage``; its words come together on stdout."""
        night = ["--night", NIGHT] if stage == "ingest" else []
        command = [sys.executable, "-m", "pipelines", stage, str(self.file)]
        return subprocess.Popen(
            [*command, "--lake", str(self.lake), "--run-id", RUN, *night, *flags],
            env=os.environ | {"CUDA_VISIBLE_DEVICES": ""},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def run(self, stage: str, *flags: str) -> dict:
        """Run ``stage`` and return its manifest; it must end well."""
        process = self.start(stage, *flags)
        said, _ = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, said
        return self.manifest(stage)

    def manifest(self, stage: str) -> dict:
        """Return what ``stage`` left."""
        return json.loads((self.own / "runs" / RUN / f"{stage}.json").read_text())

    @property
    def own(self) -> pathlib.Path:
        """The dataset's folder."""
        return self.lake / "cifar"

    def standing(self, kind: str) -> int:
        """Return how many Parquet files stand below a folder of the dataset."""
        files = (self.own / kind).rglob("*.parquet")
        return sum(not path.name.startswith(".") for path in files)


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """Return a function that makes a lake with its dataset."""
    root = tmp_path_factory.mktemp("lakes")
    return lambda name, *given, **sections: Place(root / name, *given, **sections)


@pytest.fixture(scope="session")
def source(shared_data, tmp_path_factory) -> str:
    """Return 10,000 images of CIFAR-10, held-out ones among them."""
    found = shared_data / "cifar10" / "test-00000-of-00001.parquet"
    if not found.exists():
        pytest.skip("no CIFAR-10 beside this checkout")
    table = parquet.read_table(found).slice(0, IMAGES)
    place = tmp_path_factory.mktemp("source") / "images.parquet"
    parquet.write_table(table, place, row_group_size=1000)
    return str(place)
