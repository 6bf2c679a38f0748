"""What the images are made of: their versions, and a train stage that needs no more."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]
DOCKER = ROOT / "deploy" / "docker"
MAKEFILE = ROOT / "Makefile"
UV = pathlib.Path(sys.executable).with_name("uv")
PIN = re.compile(r"^([a-z0-9._-]+)==([^\s;\\]+)(?: ; (.*?))?(?: \\)?$", re.MULTILINE)


def pins(path):
    """Return every version that a file of requirements allows, by name."""
    found = {}
    for name, version, _ in PIN.findall(path.read_text()):
        found.setdefault(name, set()).add(version)
    return found


@pytest.mark.parametrize("name", ["trainer", "trainer-cuda", "airflow"])
def test_an_image_has_the_versions_of_the_lock(name):
    lock, image = pins(ROOT / "requirements.lock"), pins(DOCKER / f"{name}.txt")

    assert image
    assert [one for one in image if one in lock and not image[one] <= lock[one]] == []
    only_here = [one for one in image if one not in lock]
    assert [one for one in only_here if not one.startswith(("nvidia-", "jax-"))] == []


def test_the_trainer_needs_no_tensorflow_beam_or_airflow():
    heavy = re.compile(r"tensorflow|apache-|pyarrow|pyiceberg|duckdb|opencv")

    assert [one for one in pins(DOCKER / "trainer-cuda.txt") if heavy.match(one)] == []


@pytest.mark.parametrize("file", sorted(DOCKER.glob("*.Dockerfile")), ids=str)
def test_what_an_image_copies_is_in_the_checkout(file):
    copied = [
        word
        for line in file.read_text().splitlines()
        if line.startswith("COPY ") and "--from" not in line
        for word in line.split()[1:-1]
    ]

    assert copied
    assert [word for word in copied if not (ROOT / word).exists()] == []


@pytest.mark.parametrize("file", sorted(DOCKER.glob("*.Dockerfile")), ids=str)
def test_an_image_is_made_by_the_same_uv_as_the_environment(file):
    (version,) = re.findall(r"^UV_VERSION := (\S+)", MAKEFILE.read_text(), re.MULTILINE)

    assert f"uv=={version}" in file.read_text()


@pytest.mark.slow
def test_the_versions_of_the_images_can_still_be_had(tmp_path):
    for file in DOCKER.glob("*.txt"):
        shutil.copy(file, tmp_path)

    subprocess.run(
        [DOCKER / "lock.sh", tmp_path], env=os.environ | {"UV": str(UV)}, check=True
    )

    for file in DOCKER.glob("*.txt"):
        assert (tmp_path / file.name).read_text() == file.read_text()


def python312(name):
    """Return a Python of the image's version, or this one where there is none."""
    places = [*pathlib.Path.home().glob(".pyenv/versions/3.12*/bin/python3.12")]
    for place in filter(None, (shutil.which("python3.12"), *places)):
        if not subprocess.run([place, "-c", ""], capture_output=True).returncode:
            return str(place), DOCKER / f"{name}.txt"
    return sys.executable, DOCKER / f"{name}.in"


def make(venv, name, *more):
    """Make an environment as an image has it; return its folder of commands."""
    python, requirements = python312(name)
    for words in (
        ["venv", "--python", python, venv],
        ["pip", "install", "-r", requirements, "-c", ROOT / "requirements.lock"],
        *more,
    ):
        env = os.environ | {"VIRTUAL_ENV": str(venv)}
        subprocess.run([UV, *words, "--quiet"], env=env, check=True)
    return venv / "bin"


@pytest.fixture
def trainer(tmp_path):
    """Return the command of an environment that has what the trainer's image has."""
    source = tmp_path / "source"
    for name in ("pipelines", "models"):
        shutil.copytree(ROOT / name, source / name)
    for name in ("setup.py", "pyproject.toml"):
        shutil.copy(ROOT / name, source)
    ours = ["pip", "install", "--no-deps", source]
    return make(tmp_path / "venv", "trainer", ours) / "latentlake"


def without_seconds(path):
    records = json.loads(path.read_text())
    return [{k: v for k, v in one.items() if k != "seconds"} for one in records]


@pytest.mark.slow
def test_the_trainers_environment_trains_what_the_whole_one_prepared(
    tmp_path, trainer, small_night, wait
):
    lake, run_id = small_night
    copy = tmp_path / "copy"
    shutil.copytree(lake, copy)

    free = {k: v for k, v in os.environ.items() if k != "KERAS_BACKEND"}

    def train(root, **more):
        words = [trainer, "train", "tiny", "--lake", root, "--run-id", run_id]
        return subprocess.Popen(
            words, stderr=subprocess.PIPE, text=True, cwd=tmp_path, env=free | more
        )

    without = train(copy, KERAS_BACKEND="tensorflow")
    _, refused = without.communicate(timeout=60)
    straight = train(copy)
    _, said = straight.communicate(timeout=600)
    cut = train(lake)
    history = lake / "tiny" / "runs" / run_id / "train" / "history.json"
    wait(lambda: cut.poll() is not None or history.exists(), "an epoch")
    cut.kill()
    cut.communicate()
    again = train(lake)
    _, said_again = again.communicate(timeout=600)

    assert without.returncode == 1
    assert "tensorflow (KERAS_BACKEND), which is not installed here" in refused
    assert (straight.returncode, again.returncode) == (0, 0), said + said_again
    assert "with jax on the CPU (TensorFlow is not installed)" in said
    assert "Training is taken up after epoch" in said_again
    other = copy / history.relative_to(lake)
    assert without_seconds(history) == without_seconds(other)
    words = ["evaluate", "tiny", "--lake", str(lake), "--run-id", run_id]
    judged = subprocess.run([sys.executable, "-m", "pipelines", *words], check=False)
    space_id = json.loads((history.parents[1] / "train.json").read_text())["wrote"]
    said = (history.parents[1] / "evaluate.json").read_text()
    assert judged.returncode in (0, 3), said  # it was judged, either way
    assert space_id["space_id"] in said


@pytest.mark.slow
def test_airflow_in_the_trainers_image_needs_nothing_of_ours(tmp_path):
    commands = make(tmp_path / "venv", "airflow")
    code = (
        "import importlib.util; from airflow.dag_processing.dagbag import DagBag;"
        f"bag = DagBag({str(ROOT / 'dags')!r}); assert not bag.import_errors;"
        "assert importlib.util.find_spec('pipelines') is None;"
        "print(*sorted(bag.dags))"
    )
    own = {
        "AIRFLOW_HOME": str(tmp_path / "home"),
        "PYTHONPATH": str(ROOT / "dags"),
        "LATENTLAKE_TRAIN_POD": str(DOCKER / "gpu-pod.yaml"),
    }

    done = subprocess.run(
        [commands / "python", "-c", code],
        env=os.environ | own,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    worker = subprocess.run(
        [commands / "airflow", "edge", "worker", "--help"],
        env=os.environ | own,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    assert "nightly_digits" in done.stdout.splitlines()[-1]
    assert "--queues" in worker.stdout
