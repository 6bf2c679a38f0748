"""The train task on a worker of another queue that is lost in mid-epoch, twice."""

import contextlib
import json
import pathlib
import shutil
import subprocess
import sys

import edge_worker
import psutil
import pytest

KEEPER = str(pathlib.Path(__file__).parents[2] / "dags/latentlake_airflow/keeper.py")
EPOCHS = 10


def history(site):
    """Return the epochs that are done, without how long each took."""
    with contextlib.suppress(FileNotFoundError, ValueError):
        records = json.loads((site.run_folder() / "train" / "history.json").read_text())
        return [{k: v for k, v in one.items() if k != "seconds"} for one in records]
    return []


def undisturbed(site):
    """Return history and space of the same training on a copy of the lake."""
    copy, run_id = site.root / "copy", site.run_folder().name
    shutil.copytree(site.lake, copy)
    shutil.rmtree(copy / "tiny" / "encoders")
    shutil.rmtree(copy / "tiny" / "runs" / run_id / "train")
    (copy / "tiny" / "runs" / run_id / "train.json").unlink()
    words = ["train", "tiny", "--lake", str(copy), "--run-id", run_id]
    subprocess.run(
        [sys.executable, "-m", "pipelines", *words], env=site.env, check=True
    )
    run = copy / "tiny" / "runs" / run_id
    records = json.loads((run / "train" / "history.json").read_text())
    space = json.loads((run / "train.json").read_text())["wrote"]["space_id"]
    return [{k: v for k, v in r.items() if k != "seconds"} for r in records], space


def command(process):
    with contextlib.suppress(psutil.Error):
        return process.cmdline()
    return []


def lose_all_but_the_stage(worker):
    """Kill a worker and its task, not the keeper and the stage; return what is left."""
    found = worker.processes()
    stage = [one for one in found if command(one)[1:4] == ["-m", "pipelines", "train"]]
    keeper = [one for one in found if command(one)[3:4] == [KEEPER]]
    assert (len(stage), len(keeper)) == (1, 1)
    for process in found:
        if process not in (*stage, *keeper):
            process.kill()
    return psutil.wait_procs([*stage, *keeper], timeout=60)[1]


@pytest.mark.slow
def test_a_training_whose_worker_is_lost_goes_on_elsewhere_to_the_same_losses(
    site, wait
):
    def worker(name):
        return edge_worker.working(site.env, site.root / name, name=name)

    def is_past(epochs):
        return lambda: len(history(site)) >= epochs

    site.trigger()
    with worker("first") as first:
        wait(is_past(2), "two epochs on the first worker")
        task = site.train_task()
        first.kill()
        done = len(history(site))
    assert (task["queue"], task["hostname"], task["try_number"]) == ("gpu", "first", 1)

    with worker("second") as second:
        wait(is_past(done + 2), "two more epochs on the second")
        assert lose_all_but_the_stage(second) == []
        again = len(history(site))
    assert again < EPOCHS

    with worker("third"):
        wait(lambda: site.train_task()["state"] == "success", "the end of training")
    task = site.train_task()
    space_id = json.loads((site.run_folder() / "train.json").read_text())["wrote"]
    card_file = site.lake / "tiny" / "encoders" / space_id["space_id"] / "card.json"
    assert (task["hostname"], task["try_number"]) == ("third", 3)
    assert json.loads(card_file.read_text())["resumed_at"] == again
    assert (history(site), space_id["space_id"]) == undisturbed(site)
