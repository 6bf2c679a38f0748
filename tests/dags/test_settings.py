import pytest
from latentlake_airflow import settings


def write(folder, name="birds", text='[source]\npath = "/birds"\n'):
    file = folder / f"{name}.toml"
    file.write_text(text)
    return file


def test_a_dataset_file_says_when_its_nights_run(tmp_path):
    text = (
        '[source]\npath = "/birds"\n'
        '[schedule]\ncron = "30 2 * * *"\ntimezone = "Asia/Tokyo"\n'
    )

    found = settings.read(write(tmp_path, text=text))

    assert found.problem is None
    assert (found.name, found.source) == ("birds", "/birds")
    assert (found.cron, found.timezone) == ("30 2 * * *", "Asia/Tokyo")


def test_a_dataset_without_a_schedule_runs_daily_and_none_is_by_hand_only(tmp_path):
    by_hand = '[source]\npath = "/birds"\n[schedule]\ncron = "none"\n'

    assert settings.read(write(tmp_path)).cron == "@daily"
    assert settings.read(write(tmp_path, text=by_hand)).cron is None


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("birds", "[source\n", "line 1"),
        ("birds", "", "source.path: is missing"),
        ("birds", "source = 3", "source: must be a section"),
        ("birds", '[source]\npath="/"\n[schedule]\ncron=1\n', "schedule.cron"),
        ("birds", '[source]\npath="/"\n[schedule]\ntimezone="X"\n', "found 'X'"),
        ("birds", '[source]\npath="/"\n[schedule]\ntimezone=["X"]\n', "found ['X']"),
        ("My Birds", '[source]\npath="/"\n', "cannot name a dataset"),
    ],
)
def test_a_broken_file_says_its_problem_and_raises_nothing(tmp_path, name, text, said):
    found = settings.read(write(tmp_path, name, text))

    assert said in found.problem


def test_a_file_that_is_no_text_says_its_problem(tmp_path):
    file = tmp_path / "birds.toml"
    file.write_bytes(b"\xff\xfe")

    assert "utf-8" in settings.read(file).problem


def test_the_lake_is_absolute_and_beside_airflow_by_default(monkeypatch):
    monkeypatch.delenv("LATENTLAKE_LAKE", raising=False)
    monkeypatch.setenv("AIRFLOW_HOME", "/srv/airflow")
    assert settings.lake() == "/srv/airflow/lake"

    monkeypatch.setenv("LATENTLAKE_LAKE", "s3://bucket/lake")
    assert settings.lake() == "s3://bucket/lake"


def test_the_train_task_goes_where_the_environment_says(monkeypatch):
    assert settings.train_place() == {}

    monkeypatch.setenv("LATENTLAKE_TRAIN_POOL", "gpus")
    monkeypatch.setenv("LATENTLAKE_TRAIN_QUEUE", "gpu")
    monkeypatch.setenv("LATENTLAKE_TRAIN_EXECUTOR", "EdgeExecutor")

    assert settings.train_place() == {
        "pool": "gpus",
        "queue": "gpu",
        "executor": "EdgeExecutor",
    }


@pytest.mark.parametrize(
    ("name", "given"),
    [("LATENTLAKE_RETRIES", "-1"), ("LATENTLAKE_RETRY_SECONDS", "soon")],
)
def test_a_number_that_is_none_is_the_problem_of_every_dataset(
    tmp_path, monkeypatch, name, given
):
    write(tmp_path)
    monkeypatch.setenv("LATENTLAKE_DATASETS", str(tmp_path))
    monkeypatch.setenv(name, given)

    (found,) = settings.read_all()

    assert f"{name}: found '{given}'" in found.problem
