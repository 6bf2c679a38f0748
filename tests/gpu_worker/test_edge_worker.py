"""What a worker is told, by a person and by Airflow, and how it begins."""

import os
import subprocess
import sys

import edge_worker
import pytest

URL = "http://airflow:8080"


@pytest.fixture(autouse=True)
def nothing_set(monkeypatch):
    monkeypatch.delenv("AIRFLOW__API_AUTH__JWT_SECRET", raising=False)


def test_without_the_secret_a_worker_says_where_it_comes_from(tmp_path):
    with pytest.raises(SystemExit, match="copy the file from the host of Airflow"):
        edge_worker.of_a_person(URL, "gpu", tmp_path / "jwt_secret")


def test_a_worker_takes_the_callers_lake_and_the_secret_of_the_file(
    tmp_path, monkeypatch
):
    (tmp_path / "jwt_secret").write_text("s3cret")
    monkeypatch.setenv("LATENTLAKE_LAKE", "s3://lake/nights")

    found = edge_worker.of_a_person(URL, "gpu", tmp_path / "jwt_secret")

    assert found["AIRFLOW__API_AUTH__JWT_SECRET"] == "s3cret"
    assert found["LATENTLAKE_LAKE"] == "s3://lake/nights"
    assert found["AIRFLOW__CORE__EXECUTION_API_SERVER_URL"] == f"{URL}/execution/"
    assert found["AIRFLOW__EDGE__API_URL"] == f"{URL}/edge_worker/v1/rpcapi"


@pytest.mark.parametrize("left", ["", "4194304000", "1"])  # no process, not a worker
def test_a_worker_that_cannot_start_says_why_whatever_another_left(tmp_path, left):
    worker = edge_worker.Worker("lost", tmp_path / "home")
    (tmp_path / "home").mkdir()
    if left:
        (tmp_path / "home" / "airflow-edge-worker.pid").write_text(left)
    nowhere = edge_worker.central("http://127.0.0.1:1") | {
        "AIRFLOW__EDGE__API_RETRIES": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": "s" * 64,
    }

    with pytest.raises(edge_worker.CannotStart, match="lost ended by itself"):
        worker.start(nowhere, "gpu", 1)


def test_two_workers_do_not_share_a_folder(tmp_path):
    other = subprocess.Popen(
        [sys.executable, "-c", "input()", "edge"], stdin=subprocess.PIPE
    )
    (tmp_path / "airflow-edge-worker.pid").write_text(str(other.pid))
    try:
        with pytest.raises(edge_worker.CannotStart, match="works there already"):
            edge_worker.Worker("second", tmp_path).start({}, "gpu", 1)
    finally:
        other.communicate(b"\n")


def test_the_program_says_in_a_sentence_that_it_cannot_start(tmp_path):
    (tmp_path / "secret").write_text("s" * 64)
    nowhere = ["--airflow", "http://127.0.0.1:1", "--secret", tmp_path / "secret"]

    done = subprocess.run(
        [sys.executable, edge_worker.__file__, "--home", tmp_path, *nowhere],
        env=os.environ | {"AIRFLOW__EDGE__API_RETRIES": "1", "PYTHONSAFEPATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 1
    assert "ended by itself" in done.stderr
    assert not done.stderr.startswith("Traceback")
