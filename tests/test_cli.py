import datetime
import subprocess
import sys

import pytest

from pipelines import cli, flags
from pipelines.errors import ConfigError
from pipelines.lake import manifest
from pipelines.lake import run as runs
from pipelines.lake.layout import Lake


@pytest.fixture
def birds(tmp_path, monkeypatch):
    (tmp_path / "birds.toml").write_text('[source]\npath = "photos"\n')
    monkeypatch.setenv("LATENTLAKE_DATASETS", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return Lake(str(tmp_path / "lake"), "birds")


def latentlake(*argv):
    return subprocess.run(
        [sys.executable, "-m", "pipelines", *argv],
        capture_output=True,
        text=True,
        check=False,
    )


def pin(run):
    runs.pin(run)
    return run


def test_help_names_every_command_and_loads_nothing_heavy():
    code = (
        "import sys; from pipelines import cli; cli.dispatch(['--help']); "
        "print([m for m in ('tyro', 'numpy', 'pyarrow', 'pydantic') if m in "
        "sys.modules])"
    )

    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert result.stdout.splitlines()[-1] == "[]"
    for name in (*cli.STAGES, *cli.COMMANDS):
        assert f"  {name}" in result.stdout


def test_flags_change_the_settings_of_the_file(birds):
    run, again = flags.parse(
        "ingest",
        "x",
        ["birds", "--night", "2026-02-01", "--train.epochs", "3", "--lake", "lake"],
    )

    assert run.settings.train.epochs == 3
    assert run.settings.source.path == "photos"
    assert (run.night, run.run_id, again) == ("2026-02-01", "2026-02-01-1", False)
    assert run.lake == birds


def test_the_preset_decides_which_other_flags_there_are(birds):
    given = ["birds", "--encoder.preset", "patch", "--encoder.atoms", "20"]

    run, _ = flags.parse("ingest", "x", given)

    assert run.settings.encoder.preset == "patch"
    assert run.settings.encoder.atoms == 20
    assert run.settings.source.path == "photos"
    with pytest.raises(SystemExit):
        flags.parse("ingest", "x", [*given, "--encoder.widths", "8"])


def test_a_misspelt_flag_is_an_error_and_flags_behind_the_dashes_are_beams():
    ours, beam = cli.split_beam(["birds", "--lake", "x", "--", "--runner=FlinkRunner"])

    assert ours == ["birds", "--lake", "x"]
    assert beam == ["--runner=FlinkRunner"]


def test_a_misspelt_flag_ends_with_the_code_of_settings(birds):
    result = latentlake("ingest", "birds", "--train.epocs", "3")

    assert result.returncode == 2
    assert "--train.epochs" in result.stderr


def test_without_a_dataset_the_message_says_how(birds):
    result = latentlake("ingest")

    assert result.returncode == 2
    assert "which dataset?" in result.stderr
    assert "Traceback" not in result.stderr


def test_the_night_is_today_only_where_none_is_given(birds):
    run, _ = flags.parse("ingest", "x", ["birds"])

    today = datetime.datetime.now(datetime.UTC).date()
    assert abs((datetime.date.fromisoformat(run.night) - today).days) <= 1


@pytest.mark.parametrize("night", ["2026-02-30", "tonight", "../x"])
def test_a_night_that_is_no_date_is_refused(birds, night):
    with pytest.raises(ConfigError, match="YYYY-MM-DD"):
        flags.parse("ingest", "x", ["birds", "--night", night])


@pytest.mark.parametrize("run_id", ["../../x", "a/b", "", " "])
def test_a_run_id_cannot_leave_the_lake(birds, run_id):
    with pytest.raises(ConfigError, match=r"run id|no such run"):
        flags.parse("ingest", "x", ["birds", f"--run-id={run_id or '.'}"])


def test_a_later_stage_takes_the_settings_its_run_is_pinned_to(birds, tmp_path):
    run, _ = flags.parse("ingest", "x", ["birds", "--train.epochs", "3"])
    pin(run)
    (tmp_path / "birds.toml").write_text('[source]\npath = "elsewhere"\n')

    later, _ = flags.parse("train", "x", ["birds"])

    assert later == run


def test_a_later_stage_of_no_run_says_how_one_begins(birds):
    with pytest.raises(ConfigError, match="latentlake"):
        flags.parse("train", "x", ["birds"])


def test_an_unfinished_run_goes_on_and_a_finished_one_makes_room(birds):
    argv = ["birds", "--night", "2026-02-01"]
    first, _ = flags.parse("ingest", "x", argv)
    pin(first)

    same, _ = flags.parse("ingest", "x", argv)
    manifest.write(birds, first.run_id, "publish", {"status": "done", "exit_code": 0})
    following, _ = flags.parse("ingest", "x", argv)

    assert same.run_id == "2026-02-01-1"
    assert following.run_id == "2026-02-01-2"


def test_a_run_asked_for_with_other_settings_is_another_run(birds):
    argv = ["birds", "--night", "2026-02-01"]
    first, _ = flags.parse("ingest", "x", argv)
    pin(first)

    other, _ = flags.parse("ingest", "x", [*argv, "--train.epochs", "3"])

    assert other.run_id == "2026-02-01-2"


def test_a_bad_night_is_over_and_an_accident_is_not(birds):
    argv = ["birds", "--night", "2026-02-01"]
    first, _ = flags.parse("ingest", "x", argv)
    pin(first)

    manifest.write(birds, first.run_id, "ingest", {"status": "failed", "exit_code": 1})
    assert not runs.is_over(birds, first.run_id)
    manifest.write(birds, first.run_id, "ingest", {"status": "failed", "exit_code": 4})
    assert runs.is_over(birds, first.run_id)


def test_a_lake_that_is_a_file_is_said_in_one_line(birds, tmp_path):
    (tmp_path / "afile").write_text("x")

    result = latentlake("ingest", "birds", "--lake", str(tmp_path / "afile"))

    assert result.returncode == 1
    assert "Traceback" not in result.stderr
    assert f"{tmp_path}/afile: File exists. A folder is wanted there" in result.stderr


def test_a_filesystem_without_its_library_is_said_in_one_line(birds, monkeypatch):
    code = (
        "import sys; from pipelines import cli; "
        "sys.exit(cli.accident(ImportError('Install s3fs to access S3')))"
    )

    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False
    )

    assert result.returncode == 1
    assert result.stderr == (
        "latentlake: a library is missing: Install s3fs to access S3.\n"
    )


def test_what_nobody_expected_keeps_its_traceback_and_ends_in_one_line(capsys):
    try:
        raise ValueError("what is this?")
    except ValueError as error:
        code = cli.accident(error)

    assert code == 1
    said = capsys.readouterr().err.splitlines()
    assert said[-1] == "latentlake: an accident: ValueError: what is this?"


@pytest.mark.parametrize("words", [["--help"], ["night", "--help"]])
def test_a_reader_that_has_seen_enough_is_no_accident(words):
    command = [sys.executable, "-m", "pipelines", *words]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        process.stdout.close()  # as head does
        said = process.stderr.read()

    assert said == ""
