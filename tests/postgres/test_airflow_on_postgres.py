"""Airflow itself on Postgres, with two schedulers, and the lake's catalog beside it."""

import os
import pathlib
import shutil
import signal
import time
from typing import NamedTuple

import airflow_home
import airflow_parts
import digits
import pytest
from processes import free_port

from pipelines.lake import tables
from pipelines.lake.catalog import VARIABLE
from pipelines.lake.layout import Lake

DATASETS = ("digits", "numerals")
IMAGES = 400
PATIENCE_S = 1500
EXTRA = {
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "30",
}
SETTINGS = """
[source]
path = "{source}"
[image]
height = 28
width = 28
channels = 1
[split]
eval_fraction = 0.2
[encoder]
preset = "conv"
latent_dim = 16
widths = [8, 16]
[train]
epochs = 2
min_images = 100
[gate]
allow_small = true
min_gain = -100.0
knn_margin = 100.0
psnr_margin = 100.0
"""


class House(NamedTuple):
    """An Airflow on Postgres, and what its nights read and write.

    Attributes:
        root: Folder of everything.
        url: Airflow's address.
        images: Digits that no dataset has yet.
    """

    root: pathlib.Path
    url: str
    images: list[pathlib.Path]

    @property
    def home(self):
        return self.root / "airflow"

    def ask(self, what, body=None):
        return airflow_parts.ask(self.url, what, body)

    def give(self, dataset, count):
        """Put so many new images into the source of ``dataset``."""
        for _ in range(count):
            file = self.images.pop()
            place = self.root / dataset / file.parent.name
            place.mkdir(parents=True, exist_ok=True)
            shutil.copy(file, place)

    def begin(self, dataset):
        """Trigger a night; return the address of its run."""
        dag = f"dags/nightly_{dataset}/dagRuns"
        started = self.ask(dag, {"logical_date": None}).get("dag_run_id")
        assert started, f"Airflow did not answer that a night of {dataset} began"
        return f"{dag}/{started}"

    def wait(self, run, *states):
        """Return the state of ``run`` once it is one of ``states``."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            found = self.ask(run).get("state")
            if found in states:
                return found
            time.sleep(1)
        raise AssertionError(f"{run} is {found} after {PATIENCE_S} s")

    def ids(self, dataset):
        """Return the image ids of the published rows."""
        table = tables.load(Lake(str(self.root / "lake"), dataset), "features")
        assert set(table.metadata.refs) == {"main"}
        found = table.scan(selected_fields=("image_id",)).to_arrow()
        return found["image_id"].to_pylist()


@pytest.fixture(scope="module")
def house(server, tmp_path_factory):
    """An Airflow with two schedulers, its database and the catalog in Postgres."""
    root, port = tmp_path_factory.mktemp("house"), free_port()
    digits.write(root / "all")
    images = sorted((root / "all").glob("[0-9]/0*.png"), key=lambda file: file.name)
    house = House(root, f"http://localhost:{port}", images)
    (root / "datasets").mkdir()
    for name in DATASETS:
        house.give(name, IMAGES)
        settings = SETTINGS.format(source=root / name)
        (root / "datasets" / f"{name}.toml").write_text(settings)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(VARIABLE, server.create("catalog_of_airflow"))
        patch.setenv(airflow_home.VARIABLE, server.create("airflow"))
        lake = str(root / "lake")
        env = airflow_home.environment(
            house.home, lake, root / "datasets", port, extra=EXTRA
        )
        airflow_parts.begin(house.home, house.url)
        try:
            airflow_home.migrate(env)
            airflow_parts.start_parts(house.home, env, house.url, schedulers=2)
            yield house
        finally:
            airflow_parts.down(house.home)


@pytest.mark.slow
def test_two_schedulers_run_the_nights_of_two_datasets(house, server):
    runs = [house.begin(name) for name in DATASETS]

    ends = [house.wait(run, "success", "failed") for run in runs]

    assert ends == ["success", "success"]
    assert airflow_parts.schedulers_alive(house.url) == 2
    assert airflow_parts.is_healthy(airflow_parts.health(house.url), "scheduler")
    for name in DATASETS:
        assert len(house.ids(name)) == len(set(house.ids(name))) == IMAGES
    assert not (house.root / "lake" / "catalog.db").exists()
    assert not (house.home / "airflow.db").exists()
    by = "SELECT count(DISTINCT queued_by_job_id) FROM task_instance"
    assert server.ask(by, database="airflow") == [(2,)]


@pytest.mark.slow
def test_a_night_goes_on_where_one_scheduler_is_killed(house):
    house.give("digits", 20)
    run = house.begin("digits")
    house.wait(run, "running")
    house.wait(f"{run}/taskInstances/ingest", "running", "success")

    os.kill(airflow_parts.state(house.home)["parts"]["scheduler"][0], signal.SIGKILL)

    assert house.wait(run, "success", "failed") == "success"
    assert len(house.ids("digits")) == len(set(house.ids("digits"))) == IMAGES + 20
    assert airflow_parts.is_healthy(airflow_parts.health(house.url), "scheduler")


@pytest.mark.slow
def test_no_password_is_left_where_others_read_and_nothing_stays(house, server):
    airflow_parts.down(house.home)

    files = [path for path in house.root.rglob("*") if path.is_file()]
    for file in files:
        if file.stat().st_mode & 0o044 or file.suffix in (".log", ".json"):
            assert server.password.encode() not in file.read_bytes(), file
    assert airflow_parts.running(house.home) == []
    left = "SELECT count(*) FROM pg_stat_activity WHERE datname = 'airflow'"
    assert server.ask(left) == [(0,)]
