"""Whole nights on forty images through Airflow, as people run them."""

import datetime
import json
import os
import pathlib
import subprocess
import sys

import cv2
import numpy as np
import pytest

DAGS = pathlib.Path(__file__).parents[1] / "dags"
SETTINGS = """
[source]
path = "{source}"
[image]
height = 16
width = 16
[split]
eval_fraction = 0.3
[encoder]
preset = "conv"
latent_dim = 4
widths = [4]
[train]
epochs = 1
batch_size = 16
min_images = 10
[gate]
allow_small = true
min_gain = -100.0
knn_margin = 100.0
psnr_margin = 100.0
"""


def paint(folder, count=38):
    """Write round and square shapes of every colour, and two files that are none."""
    random = np.random.default_rng(0)
    for number in range(count):
        label = ("round", "square")[number % 2]
        image = np.full((24, 24, 3), random.integers(0, 96, 3), np.uint8)
        colour = random.integers(128, 256, 3).tolist()
        x, y = random.integers(8, 16, 2).tolist()
        if label == "round":
            cv2.circle(image, (x, y), 6, colour, -1)
        else:
            cv2.rectangle(image, (x - 5, y - 5), (x + 5, y + 5), colour, -1)
        file = folder / label / f"{number:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), image)
    (folder / "round" / "empty.png").touch()
    (folder / "square" / "words.png").write_text("no picture at all")


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a folder for the images, the lake and an Airflow."""
    return tmp_path_factory.mktemp("home")


@pytest.fixture(scope="module")
def airflow(home):
    """Return a way to ask an Airflow of these tests' own; it has run one night."""
    paint(home / "shapes")
    datasets = home / "datasets"
    datasets.mkdir()
    settings = SETTINGS.format(source=home / "shapes")
    (datasets / "shapes.toml").write_text(settings)
    env = os.environ | {
        "AIRFLOW_HOME": str(home / "airflow"),
        "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "LATENTLAKE_DATASETS": str(datasets),
        "LATENTLAKE_LAKE": str(home / "lake"),
        "LATENTLAKE_RETRIES": "0",
    }

    def ask(*words):
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *words],
            env=env,
            cwd=home,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout[-8000:]
        return done.stdout

    ask("db", "migrate")
    ask("dags", "test", "nightly_shapes", "--conf", '{"night": "2026-03-09"}')
    return ask


def manifests(lake, night):
    """Return what every stage of the one run of ``night`` left."""
    (run,) = (lake / "shapes" / "runs").glob(f"{night}-*")
    return {
        stage: json.loads((run / f"{stage}.json").read_text())
        for stage in ("ingest", "train", "evaluate", "encode", "publish", "report")
    }


def features(lake):
    from pipelines.lake import tables
    from pipelines.lake.layout import Lake

    table = tables.load(Lake(str(lake), "shapes"), "features")
    return table.current_snapshot().snapshot_id, table.scan().to_arrow()


def test_a_night_publishes_what_is_sound(airflow, home):
    found = manifests(home / "lake", "2026-03-09")
    assert {one["status"] for one in found.values()} == {"done"}
    counts = found["ingest"]["counts"]
    assert (counts["listed"], counts["new"]) == (40, 40)
    assert (counts["accepted"], counts["rejected"]) == (38, 2)
    _, rows = features(home / "lake")
    assert sorted(set(rows["label"].to_pylist())) == ["round", "square"]
    assert len(set(rows["image_id"].to_pylist())) == rows.num_rows == 38
    assert {len(latent) for latent in rows["latent"].to_pylist()} == {4}
    assert set(rows["night"].to_pylist()) == {datetime.date(2026, 3, 9)}
    (report,) = home.glob("lake/shapes/runs/2026-03-09-*/report.html")
    assert "2026-03-09" in report.read_text()


@pytest.mark.slow
def test_the_next_night_finds_nothing_new(airflow, home):
    before, _ = features(home / "lake")

    airflow("dags", "test", "nightly_shapes", "--conf", '{"night": "2026-03-10"}')

    found = manifests(home / "lake", "2026-03-10")
    assert {one["status"] for name, one in found.items() if name != "report"} == {
        "skipped"
    }
    assert features(home / "lake")[0] == before
