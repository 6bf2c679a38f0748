"""An Airflow of the test's own, whose train task goes to the queue ``gpu``."""

import dataclasses
import os
import pathlib
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import edge_worker
import pytest
from processes import free_port

LOCAL = pathlib.Path(__file__).parents[2] / "deploy" / "local"
sys.path.append(str(LOCAL))  # last, since one of its scripts is named airflow

DATASET = """
[source]
path = "{source}"
[schedule]
cron = "none"
[image]
height = 28
width = 28
channels = 1
[encoder]
preset = "conv"
latent_dim = 8
widths = [8, 16]
[train]
epochs = 10
batch_size = 8
"""
QUICK = {
    "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
    "AIRFLOW__EDGE__HEARTBEAT_INTERVAL": "2",
    "AIRFLOW__EDGE__JOB_POLL_INTERVAL": "1",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "2",
    "LATENTLAKE_RETRIES": "4",
    "LATENTLAKE_RETRY_SECONDS": "1",
}
"""A lost worker is noticed in seconds; by default it takes five minutes."""
PATIENCE_S = 300.0


@dataclasses.dataclass
class Site:
    """A central Airflow that is up.

    Attributes:
        env: What its parts are started with.
        url: Where its API is.
        lake: Its lake.
        root: A folder for what is started besides.
    """

    env: dict[str, str]
    url: str
    lake: pathlib.Path
    root: pathlib.Path

    def trigger(self) -> None:
        """Start the night of the one dataset."""
        import airflow_parts

        runs = "dags/nightly_tiny/dagRuns"
        assert airflow_parts.ask(self.url, runs, {"logical_date": None})

    def train_task(self) -> dict[str, Any]:
        """Return what Airflow says of the train task."""
        import airflow_parts

        tasks = "dags/nightly_tiny/dagRuns/~/taskInstances?task_id=train"
        found = airflow_parts.ask(self.url, tasks).get("task_instances", [])
        named = [one for one in found if one["task_id"] == "train"]
        return named[0] if named else {"state": None, "try_number": 0}

    def run_folder(self) -> pathlib.Path:
        """Return the folder of the night's run in the lake."""
        (found,) = (self.lake / "tiny" / "runs").iterdir()
        return found


@pytest.fixture
def wait() -> Callable[..., None]:
    """Return a function that waits until something is so, but not for ever."""

    def until(
        is_so: Callable[[], Any], what: str, patience: float = PATIENCE_S
    ) -> None:
        end = time.monotonic() + patience
        while not is_so():
            assert time.monotonic() < end, f"{what}: not in {patience:.0f} s"
            time.sleep(0.05)

    return until


@pytest.fixture
def site(tmp_path: pathlib.Path) -> Iterator[Site]:
    """Yield an Airflow with one small dataset of digits."""
    import airflow_home
    import airflow_parts
    import digits

    home, lake = tmp_path / "airflow", tmp_path / "lake"
    write_digits(digits, tmp_path / "images")
    datasets = tmp_path / "datasets"
    datasets.mkdir()
    (datasets / "tiny.toml").write_text(DATASET.format(source=tmp_path / "images"))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    extra = edge_worker.central(url) | QUICK
    env = airflow_home.environment(home, str(lake), datasets, port, extra=extra)
    airflow_parts.begin(home, url)
    airflow_home.migrate(env)
    try:
        airflow_parts.start_parts(home, env, url)
        yield Site(env, url, lake, tmp_path)
    finally:
        airflow_parts.down(home)


def write_digits(digits: Any, folder: pathlib.Path, of_five: int = 3) -> None:
    """Write some thousand digits, one folder a label."""
    images, labels = digits.digits()
    for number in range(0, 5000, 5):
        for place in range(number, number + of_five):
            path = folder / str(labels[place]) / f"{place}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(digits.encoded(images[place], "PNG"))


@pytest.fixture
def small_night(tmp_path: pathlib.Path) -> tuple[pathlib.Path, str]:
    """Return a lake and its run, ready to be trained on."""
    import digits

    write_digits(digits, tmp_path / "images", of_five=1)
    settings = DATASET.format(source=tmp_path / "images").replace("= 10", "= 3")
    (tmp_path / "tiny.toml").write_text(settings)
    lake, run_id = tmp_path / "lake", "2026-01-01-1"
    for stage in ("ingest", "transform"):
        words = [stage, "tiny", "--lake", str(lake), "--run-id", run_id]
        subprocess.run(
            [sys.executable, "-m", "pipelines", *words],
            env=os.environ | {"LATENTLAKE_DATASETS": str(tmp_path)},
            check=True,
        )
    return lake, run_id
