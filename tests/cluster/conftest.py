"""Everything that stands beyond one machine, on this one: a house of real servers.

Flink on hosts of its own, an S3 server, PostgreSQL, Airflow with two schedulers, and a
worker of another queue. Nothing is home-made, and nothing knows that it is a test.
"""

import contextlib
import datetime
import json
import os
import pathlib
import shutil
import sys
import time
import urllib.request
from collections.abc import Iterator
from typing import NamedTuple

import pytest

sys.path.append(str(pathlib.Path(__file__).parents[2] / "deploy" / "local"))

PATIENCE_S = 1500.0
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
latent_dim = 32
widths = [8, 16]
[train]
epochs = 3
[gate]
min_gain = -100.0
knn_margin = 100.0
psnr_margin = 100.0
[schedule]
cron = "{cron}"
[engine]
chunk_size = 256
"""


class House(NamedTuple):
    """What runs, and how to ask it.

    Attributes:
        url: Airflow's address.
        flink: The Flink cluster.
        s3: The S3 server.
        postgres: The PostgreSQL server.
        edge: The worker of the queue ``gpu``.
        lake: The lake's root, in a bucket.
        file: The dataset's settings.
        source: The bucket of its images, as a folder of this machine.
        env: The environment in which the tables can be read.
    """

    url: str
    flink: object
    s3: object
    postgres: object
    edge: object
    lake: str
    file: pathlib.Path
    source: pathlib.Path
    env: dict[str, str]

    def ask(self, what: str) -> dict:
        """Return what Airflow's API answers."""
        import airflow_parts

        return airflow_parts.ask(self.url, what)

    def schedule(self, settings: dict[str, object]) -> None:
        """Let the dataset's next night begin in about three minutes."""
        soon = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=180)
        text = SETTINGS.format(
            source="s3://photos/digits",
            cron=f"{soon.minute} {soon.hour} * * *",
        )
        lines = (f"{key} = {json.dumps(value)}" for key, value in settings.items())
        aside = self.file.with_suffix(".aside")
        aside.write_text(text + "\n".join(lines) + "\n")
        aside.replace(self.file)

    def night(self, number: int) -> dict:
        """Return the DAG's scheduled run of this number, once it has ended."""
        until = time.monotonic() + PATIENCE_S
        while time.monotonic() < until:
            found = self.ask("dags/nightly_digits/dagRuns?order_by=run_after")
            runs = found.get("dag_runs", [])
            if len(runs) >= number and runs[number - 1]["state"] in _ENDED:
                return runs[number - 1]
            time.sleep(2)
        raise AssertionError(f"night {number} did not end in {PATIENCE_S:.0f} s")

    def tasks(self, run: dict) -> dict[str, dict]:
        """Return the tasks of one of the DAG's runs, by name."""
        where = f"dags/nightly_digits/dagRuns/{run['dag_run_id']}/taskInstances"
        until = time.monotonic() + 60
        while not (found := self.ask(where)) and time.monotonic() < until:
            time.sleep(1)  # a busy API has not answered in time
        return {one["task_id"]: one for one in found["task_instances"]}

    def jobs(self) -> list[dict]:
        """Return the jobs that Flink remembers."""
        with urllib.request.urlopen(f"{self.flink.master}/jobs/overview") as answer:
            return json.load(answer)["jobs"]


_ENDED = ("success", "failed")


@pytest.fixture(scope="module")
def house() -> Iterator[House]:
    """Yield everything, started in order; the end of the module stops it."""
    # PostgreSQL's own account must be able to enter: not below pytest's folder.
    home = pathlib.Path("/var/tmp") / f"latentlake-cluster-{os.getpid()}"
    home.mkdir(mode=0o755)
    try:
        with contextlib.ExitStack() as stack:
            yield build(home, stack)
    finally:
        keep = os.environ.get("LATENTLAKE_KEEP")
        if not keep:
            shutil.rmtree(home, ignore_errors=True)


def build(home: pathlib.Path, stack: contextlib.ExitStack) -> House:
    """Start every part; ``stack`` stops them, the last one first."""
    import flink_cluster
    import postgres_server
    import s3_server

    try:
        flink_cluster.flink_install.require()
        pg = stack.enter_context(postgres_server.serving(home / "postgres"))
    except (flink_cluster.CannotStart, postgres_server.PostgresMissing) as error:
        pytest.skip(str(error))
    network = flink_cluster.Network(home / "flink")
    stack.callback(flink_cluster.down, home / "flink")
    apart = flink_cluster.flink_network.refused() is None
    if apart:
        network.make([])
    gateway = network.gateway if apart else "127.0.0.1"
    s3 = stack.enter_context(s3_server.serving(home / "s3", gateway))
    if not s3.is_real:
        pytest.skip("a cluster's workers need a real S3 server; install Go for one")
    lake = f"{s3.make_bucket('lake')}/nights"
    s3.make_bucket("photos")
    ours = s3.environment() | {"LATENTLAKE_CATALOG": pg.create("catalog")}
    flink = flink_cluster.up(home / "flink", env=s3.environment())
    house = _airflow(
        home, stack, ours | {"LATENTLAKE_LAKE": lake}, pg.create("airflow")
    )
    return house._replace(flink=flink, s3=s3, postgres=pg, lake=lake)


def _airflow(
    home: pathlib.Path,
    stack: contextlib.ExitStack,
    ours: dict[str, str],
    database: str,
) -> House:
    """Start Airflow on ``database`` with two schedulers, and a worker beside it."""
    import airflow_home
    import airflow_parts
    import edge_worker
    import s3_server

    port = s3_server.free_port("127.0.0.1")
    url = f"http://localhost:{port}"
    datasets = home / "datasets"
    datasets.mkdir()
    extra = edge_worker.central(url) | ours
    extra |= {
        "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
        "AIRFLOW__CORE__PLUGINS_FOLDER": str(home / "no-plugins"),
        "LATENTLAKE_CACHE": str(home / "cache"),
    }
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(airflow_home.VARIABLE, database)
        env = airflow_home.environment(
            home / "airflow", ours["LATENTLAKE_LAKE"], datasets, port, extra=extra
        )
    airflow_parts.begin(home / "airflow", url)
    airflow_home.migrate(env)
    stack.callback(airflow_parts.down, home / "airflow")
    airflow_parts.start_parts(home / "airflow", env, url, schedulers=2)
    edge = stack.enter_context(edge_worker.working(env, home / "edge", name="gpu-1"))
    return House(
        url=url,
        flink=None,
        s3=None,
        postgres=None,
        edge=edge,
        lake="",
        file=datasets / "digits.toml",
        source=home / "s3" / "photos" / "digits",
        env=ours,
    )
