"""A training killed in mid-epoch, taken up on another machine: only the bucket is left.

Another machine is another process with another cache and another temporary folder.
"""

import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
import s3_server
import s3fs

from models import tfrecord
from models.transform import sha256_of
from pipelines.config import Settings
from pipelines.lake import bucket, manifest, store
from pipelines.lake import run as runs
from pipelines.lake.layout import Lake
from pipelines.lake.run import Run

TRANSFORM = "t" * 16
EPOCHS = 8
SETTINGS = {
    "source": {"path": "/images"},
    "image": {"height": 16, "width": 16, "channels": 1},
    "encoder": {"preset": "conv", "latent_dim": 6, "widths": [4, 8]},
    "train": {"epochs": EPOCHS, "batch_size": 4, "learning_rate": 0.01},
}


def prepare(root, tmp_path):
    """Leave in a lake what transform leaves; return the run."""
    settings = Settings.model_validate(SETTINGS)
    run = Run(Lake(root, "tiny"), "2026-01-01-1", "2026-01-01", settings)
    runs.pin(run)
    files = [
        write_examples(run, tmp_path, *one) for one in (("train", 800), ("eval", 80))
    ]
    store.write_json(run.path("examples.json"), {"format_version": 1, "files": files})
    write_transform(run, tmp_path)
    value = {"status": "done", "note": "", "wrote": {"transform_id": TRANSFORM}}
    manifest.write(run.lake, run.run_id, "transform", value)
    return run


def write_examples(run, tmp_path, split, count):
    path = tmp_path / f"{split}.tfrecord"
    rng = np.random.default_rng(count)
    with path.open("wb") as file:
        payloads = (
            tfrecord.encode_example(
                {"image": rng.normal(size=256), "image_id": b"%d" % n}
            )
            for n in range(count)
        )
        tfrecord.write_frames(file, payloads)
    folder = run.lake.examples(TRANSFORM, split)
    store.write_bytes(f"{folder}/a.tfrecord", path.read_bytes())
    known = {"bytes": path.stat().st_size, "sha256": sha256_of(str(path))}
    return {"path": f"{split}/a.tfrecord", **known}


def write_transform(run, tmp_path):
    table = (np.arange(256, dtype=np.float32)[:, None] / 255 - 0.5) / 0.25
    np.save(tmp_path / "lookup.npy", table)
    data = (tmp_path / "lookup.npy").read_bytes()
    store.write_bytes(run.lake.transform(TRANSFORM, "lookup.npy"), data)
    card = {
        "format_version": 1,
        "transform_id": TRANSFORM,
        "image_spec_id": run.image_spec_id,
        **{"height": 16, "width": 16, "channels": 1},
        "normalise": "per_channel",
        "mean": [0.5],
        "std": [0.25],
        "files": {"lookup.npy": sha256_of(str(tmp_path / "lookup.npy"))},
    }
    store.write_json(run.lake.transform(TRANSFORM, "transform.json"), card)


def machine(folder, run):
    """Start the stage as on a machine that has nothing yet but the lake's address."""
    folder.mkdir()
    own = {"LATENTLAKE_CACHE": str(folder / "cache"), "TMPDIR": str(folder)}
    words = ["train", "tiny", "--lake", run.lake.root, "--run-id", run.run_id]
    return subprocess.Popen(
        [sys.executable, "-m", "pipelines", *words], env=os.environ | own
    )


def outcome(run):
    """Return the losses of each epoch, the space, and when training was taken up."""
    records = store.read_json(run.path("train", "history.json"))
    space_id = store.read_json(run.path("train", "candidate.json"))["space_id"]
    card = store.read_json(run.lake.encoder(space_id, "card.json"))
    losses = [{k: v for k, v in one.items() if k != "seconds"} for one in records]
    return losses, space_id, card["resumed_at"]


@pytest.mark.slow
def test_another_machine_goes_on_from_the_bucket_to_the_same_losses(
    tmp_path, monkeypatch, wait
):
    with s3_server.serving(tmp_path / "s3") as s3:
        for name, value in s3.environment().items():
            monkeypatch.setenv(name, value)
        s3fs.S3FileSystem.clear_instance_cache()  # of another test's server
        bucket._require_known.cache_clear()
        run = prepare(f"{s3.make_bucket('lake')}/nights", tmp_path)
        first = machine(tmp_path / "first", run)
        history = run.path("train", "history.json")
        wait(lambda: first.poll() is not None or store.exists(history), "a checkpoint")
        wait(lambda: store.exists(run.path("train", "checkpoint.npz")), "all of it", 10)
        first.kill()
        first.wait()
        second = machine(tmp_path / "second", run)
        assert second.wait(300) == 0
        losses, space_id, resumed_at = outcome(run)

    straight = prepare(str(tmp_path / "lake"), tmp_path)
    assert machine(tmp_path / "third", straight).wait(300) == 0
    assert 1 <= resumed_at < EPOCHS
    assert len(losses) == EPOCHS
    assert (losses, space_id, 0) == outcome(straight)
    assert json.loads(pathlib.Path(straight.path("train.json")).read_text())["wrote"]
