"""What a worker is told, by a person and by Airflow."""

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


def test_a_worker_that_cannot_start_says_why(tmp_path):
    worker = edge_worker.Worker("lost", tmp_path / "home")
    nowhere = edge_worker.central("http://127.0.0.1:1") | {
        "AIRFLOW__EDGE__API_RETRIES": "1",
        "AIRFLOW__API_AUTH__JWT_SECRET": "s" * 64,
    }

    with pytest.raises(edge_worker.CannotStart, match="lost ended by itself"):
        worker.start(nowhere, "gpu", 1)
