"""Two scheduled nights with every part elsewhere, as a large corpus would have them."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

pytestmark = pytest.mark.slow

FIRST = 2000
NEW = 100
"""Five in a hundred."""
STAGES = ("ingest", "transform", "train", "evaluate", "encode", "publish", "report")


def put(folder: pathlib.Path, source: pathlib.Path, numbers: range) -> None:
    """Upload some of the digits in ``folder``, as whoever owns the images would."""
    files = sorted(folder.rglob("0*.png"), key=lambda path: path.name)
    for file in files[numbers.start : numbers.stop]:
        target = source / file.relative_to(folder)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(file.read_bytes())


@pytest.fixture(scope="module")
def digits(tmp_path_factory) -> pathlib.Path:
    """Return a folder of 5,000 real digits."""
    folder = tmp_path_factory.mktemp("digits") / "digits"
    script = pathlib.Path(__file__).parents[2] / "deploy" / "local" / "digits.py"
    subprocess.run([sys.executable, str(script), str(folder)], check=True)
    return folder


@pytest.fixture(scope="module")
def nights(house, digits):
    """Return both nights as Airflow and the lake tell of them."""
    told = []
    for number, files in enumerate((range(FIRST), range(FIRST, FIRST + NEW)), start=1):
        put(digits, house.source, files)
        house.schedule(house.flink.engine())
        run = house.night(number)
        told.append((run, house.tasks(run), manifests(house, number)))
    return told


def manifests(house, number):
    """Return what each stage of the night of this number left in the bucket."""
    lake = house.s3.client()
    found = {}
    listed = lake.list_objects_v2(Bucket="lake", Prefix="nights/digits/runs/")
    for one in listed.get("Contents", []):
        run_id, _, name = one["Key"].removeprefix("nights/digits/runs/").partition("/")
        if name.removesuffix(".json") in STAGES:
            body = lake.get_object(Bucket="lake", Key=one["Key"])["Body"]
            found.setdefault(run_id, {})[name[:-5]] = json.load(body)
    runs = sorted(found.values(), key=lambda one: one["ingest"]["counts"]["listed"])
    return runs[number - 1]


def features(house, query):
    """Return what DuckDB answers of the feature table, with nothing of ours."""
    code = (
        "import json, os; from pyiceberg.catalog import load_catalog\n"
        "s3 = {'s3.endpoint': os.environ['AWS_ENDPOINT_URL'],"
        " 's3.region': os.environ['AWS_REGION']}\n"
        "c = load_catalog('latentlake', type='sql',"
        " uri=os.environ['LATENTLAKE_CATALOG'], **s3)\n"
        "t = c.load_table('digits.features').scan().to_duckdb('features')\n"
        f"print(json.dumps(t.sql('''{query}''').fetchall()))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | house.env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_both_nights_were_scheduled_and_ended_well(nights):
    for run, tasks, _ in nights:
        assert run["run_type"] == "scheduled"
        assert run["state"] == "success", {
            name: task["state"] for name, task in tasks.items()
        }


def test_the_first_night_did_every_stage(nights):
    _, tasks, told = nights[0]
    assert {tasks[stage]["state"] for stage in STAGES} == {"success"}
    assert told["ingest"]["counts"]["accepted"] == FIRST


def test_train_ran_on_the_worker_of_the_other_queue(nights, house):
    _, tasks, _ = nights[0]
    assert tasks["train"]["queue"] == "gpu"
    assert "EdgeExecutor" in tasks["train"]["executor"]
    assert "train" in house.edge.log.read_text()
    others = {tasks[stage]["queue"] for stage in STAGES if stage != "train"}
    assert "gpu" not in others


def test_the_beam_stages_ran_on_flink(nights, house):
    names = [job["name"] for job in house.jobs() if job["state"] == "FINISHED"]
    for stage in ("ingest", "transform", "encode"):
        assert any(stage in name for name in names), names


def test_every_image_is_in_the_table_once(nights, house):
    (row,) = features(
        house,
        "select count(*), count(distinct image_id), count(distinct space_id),"
        " min(len(latent)), max(len(latent)) from features",
    )
    assert row == [FIRST + NEW, FIRST + NEW, 1, 32, 32]


def test_the_second_night_did_what_was_new_and_no_more(nights):
    _, tasks, told = nights[1]
    counts = told["ingest"]["counts"]
    assert (counts["new"], counts["known"]) == (NEW, FIRST)
    assert tasks["train"]["state"] == "skipped"
    assert told["encode"]["counts"]["images"] == NEW
    assert told["publish"]["counts"]["added"] == NEW


def test_the_catalog_and_airflow_live_in_postgres(nights, house):
    tables = house.postgres.ask(
        "select table_name from iceberg_tables", database="catalog"
    )
    assert {name for (name,) in tables} == {"images", "features"}
    runs = house.postgres.ask(
        "select count(*) from dag_run where state = 'success'", database="airflow"
    )
    assert runs[0][0] >= 2


def test_no_secret_is_in_the_lake_or_the_logs(nights, house):
    secrets = [house.s3.secret.encode(), house.postgres.password.encode()]
    home = house.source.parents[2]
    looked = 0
    for folder in (home / "s3" / "lake", home / "airflow" / "logs", home / "edge"):
        for file in folder.rglob("*"):
            if file.is_file():
                looked += 1
                data = file.read_bytes()
                assert not any(secret in data for secret in secrets), file
    assert looked > 50
