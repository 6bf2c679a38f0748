import dataclasses
import json
import os
import pathlib
import shutil
import subprocess
import sys

import fsspec
import numpy as np
import pytest

from models import artifact, tfrecord
from models.settings import PatchSettings
from models.transform import sha256_of
from pipelines.config import Settings
from pipelines.errors import (
    ArtifactMismatch,
    BadNight,
    ConfigError,
    LatentlakeError,
)
from pipelines.lake import manifest, store
from pipelines.lake.layout import Lake
from pipelines.lake.run import Run
from pipelines.stages import train, training_progress

TRANSFORM = "t" * 16


def make_run(root, **values):
    settings = {
        "source": {"path": "/images"},
        "image": {"height": 16, "width": 16, "channels": 1},
        "encoder": {"preset": "conv", "latent_dim": 6, "widths": [4, 8]},
        "train": {"epochs": 2, "batch_size": 16, "min_images": 30, **values},
    }
    settings = Settings.model_validate(settings)
    return Run(Lake(str(root), "tiny"), "2026-01-01-1", "2026-01-01", settings)


def write_examples(run, split, count, value=1.0):
    folder = pathlib.Path(run.lake.examples(TRANSFORM, split))
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(count)
    images = rng.normal(size=(count, 256)).astype(np.float32) * value
    with (folder / "2026-01-01-abc.tfrecord").open("wb") as file:
        payloads = (
            tfrecord.encode_example({"image": image, "image_id": b"%d" % number})
            for number, image in enumerate(images)
        )
        tfrecord.write_frames(file, payloads)


def write_transform(run):
    folder = pathlib.Path(run.lake.transform(TRANSFORM))
    folder.mkdir(parents=True)
    table = (np.arange(256, dtype=np.float32)[:, None] / 255 - 0.5) / 0.25
    np.save(folder / "lookup.npy", table.astype(np.float32))
    card = {
        "format_version": 1,
        "transform_id": TRANSFORM,
        "image_spec_id": run.image_spec_id,
        **{"height": 16, "width": 16, "channels": 1},
        "normalise": "per_channel",
        "mean": [0.5],
        "std": [0.25],
        "files": {"lookup.npy": sha256_of(str(folder / "lookup.npy"))},
    }
    (folder / "transform.json").write_text(json.dumps(card))


def transform_was(run, status, note=""):
    value = {"status": status, "note": note, "wrote": {"transform_id": TRANSFORM}}
    manifest.write(run.lake, run.run_id, "transform", value)


@pytest.fixture
def ready(tmp_path):
    """Return a run whose transform is done, with forty training examples."""
    run = make_run(tmp_path / "lake")
    write_transform(run)
    write_examples(run, "train", 40)
    write_examples(run, "eval", 8)
    transform_was(run, "done")
    return run


def test_a_candidate_stands_whole_with_its_card(ready):
    found = train.run(ready, [])

    space_id = found.wrote["space_id"]
    loaded = artifact.load(ready.lake.encoder(space_id))
    assert loaded.space_id == space_id
    assert loaded.card["transform_id"] == TRANSFORM
    assert loaded.card["image_spec_id"] == ready.image_spec_id
    assert loaded.card["encoder"]["latent_dim"] == loaded.latent_dim == 6
    assert loaded.card["run_id"] == ready.run_id
    assert loaded.card["health"]["images"] == 40
    assert found.counts == {"train": 40, "epochs": 2, "best_epoch": 2}
    assert found.figures["loss"] > 0
    assert len(json.loads(pathlib.Path(ready.path("train/history.json")).read_text()))


def test_a_candidate_that_stands_is_not_trained_again(ready):
    first = train.run(ready, [])
    folder = pathlib.Path(ready.lake.encoder(first.wrote["space_id"]))
    before = (folder / "card.json").stat().st_mtime_ns

    second = train.run(ready, [])

    assert second == first
    assert (folder / "card.json").stat().st_mtime_ns == before


def test_a_candidate_that_is_damaged_is_made_again(ready):
    first = train.run(ready, [])
    folder = pathlib.Path(ready.lake.encoder(first.wrote["space_id"]))
    (folder / "encoder.keras").write_bytes(b"?")

    second = train.run(ready, [])

    assert second.wrote == first.wrote
    assert artifact.load(str(folder)).space_id == first.wrote["space_id"]


def test_nothing_is_trained_where_the_transform_was_skipped(tmp_path):
    run = make_run(tmp_path)
    transform_was(run, "skipped", "no training is due tonight")

    found = train.run(run, [])

    assert found.skipped
    assert found.note == "no training is due tonight"


def test_a_skip_imports_neither_keras_nor_numpy(tmp_path):
    run = make_run(tmp_path)
    transform_was(run, "skipped")
    code = (
        "import sys; from pipelines.lake.layout import Lake;"
        "from pipelines.lake.run import Run; from pipelines.stages import train;"
        f"lake = Lake({str(tmp_path)!r}, 'tiny');"
        f"train.run(Run(lake, {run.run_id!r}, '', None), []);"
        "sys.exit(bool({'keras', 'tensorflow', 'numpy'} & set(sys.modules)))"
    )

    done = subprocess.run([sys.executable, "-c", code], cwd=os.getcwd(), check=False)

    assert done.returncode == 0


def test_without_a_transform_there_is_nothing_to_train_on(tmp_path):
    with pytest.raises(LatentlakeError, match="Run transform first"):
        train.run(make_run(tmp_path), [])


def test_too_few_images_are_named_with_their_count(ready):
    write_examples(ready, "train", 12)

    with pytest.raises(ConfigError, match=r"12 training images, .* asks for 30"):
        train.run(ready, [])


def test_no_images_are_a_bad_night(tmp_path):
    run = make_run(tmp_path)
    transform_was(run, "done")

    with pytest.raises(BadNight, match="0 training images"):
        train.run(run, [])


def test_a_loss_that_is_not_finite_says_what_to_lower(ready):
    write_examples(ready, "train", 40, value=np.inf)

    with pytest.raises(ConfigError, match=r"epoch 1 at step 1.*train\.learning_rate"):
        train.run(ready, [])


def listed(run):
    """Leave the list of examples that transform leaves; return the run."""
    root = pathlib.Path(run.lake.examples(TRANSFORM, "train")).parent
    files = [
        {
            "path": path.relative_to(root).as_posix(),
            "bytes": path.stat().st_size,
            "sha256": sha256_of(str(path)),
        }
        for path in sorted(root.rglob("*.tfrecord"))
    ]
    store.write_json(run.path("examples.json"), {"format_version": 1, "files": files})
    return run


@pytest.fixture
def in_bucket(tmp_path, monkeypatch):
    """Return a function that moves a run's lake to a bucket."""
    monkeypatch.setenv("LATENTLAKE_CACHE", str(tmp_path / "cache"))
    memory = fsspec.filesystem("memory")
    root = f"/{tmp_path.name}"

    def move(run):
        memory.put(f"{run.lake.root}/", f"{root}/", recursive=True)
        shutil.rmtree(run.lake.root)
        return dataclasses.replace(run, lake=Lake(f"memory:/{root}", "tiny"))

    yield move
    memory.rm(root, recursive=True)


def test_only_examples_that_transform_lists_are_read(ready):
    listed(ready)
    folder = pathlib.Path(ready.lake.examples(TRANSFORM, "train"))
    (folder / "2026-01-01-old.tfrecord").write_bytes(b"of an earlier fit")

    found = train.run(ready, [])

    assert found.counts["train"] == 40


def test_examples_that_are_listed_and_gone_are_named(ready):
    listed(ready)
    path = pathlib.Path(
        ready.lake.examples(TRANSFORM, "eval"), "2026-01-01-abc.tfrecord"
    )
    path.unlink()

    with pytest.raises(ArtifactMismatch, match=f"{path}: is missing"):
        train.run(ready, [])


@pytest.mark.parametrize("with_list", [True, False])
def test_a_lake_in_a_bucket_trains_the_same(ready, in_bucket, tmp_path, with_list):
    here = train.run(listed(ready) if with_list else ready, []).wrote
    shutil.rmtree(ready.path("train"))
    shutil.rmtree(ready.lake.own("encoders"))

    there = train.run(in_bucket(ready), []).wrote

    assert there == here
    kept = (tmp_path / "cache").rglob("*.tfrecord")
    assert len(list(kept)) == (2 if with_list else 0)


def test_examples_that_are_not_as_listed_are_named(ready, in_bucket):
    run = in_bucket(listed(ready))
    path = f"{run.lake.examples(TRANSFORM, 'train')}/2026-01-01-abc.tfrecord"
    store.write_bytes(path, b"?")

    with pytest.raises(ArtifactMismatch, match=f"{path}: is damaged"):
        train.run(run, [])


@pytest.mark.parametrize(
    "wrong",
    [
        {"path": "train/../../../other.tfrecord"},
        {"path": "elsewhere/a.tfrecord"},
        {"sha256": "../../cache"},
        {"bytes": None},
    ],
)
def test_a_list_that_leads_elsewhere_is_refused(ready, wrong):
    sound = {"path": "train/a.tfrecord", "bytes": 1, "sha256": "0" * 64}
    value = {"format_version": 1, "files": [sound | wrong]}
    store.write_json(ready.path("examples.json"), value)

    with pytest.raises(ArtifactMismatch, match="names no file of examples"):
        train.run(ready, [])


def test_a_training_that_was_cut_off_is_taken_up_from_the_bucket(
    tmp_path, in_bucket, monkeypatch
):
    run = make_run(tmp_path / "lake", epochs=4)
    write_transform(run)
    write_examples(run, "train", 40)
    write_examples(run, "eval", 8)
    transform_was(run, "done")
    straight = train.run(listed(run), [])
    shutil.rmtree(run.path("train"))
    shutil.rmtree(run.lake.own("encoders"))
    run = in_bucket(run)

    def cut(lines, epoch, steps):
        if epoch == 3:
            raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(training_progress._Lines, "epoch_begins", cut)
        with pytest.raises(KeyboardInterrupt):
            train.run(run, [])
    standing = store.names(run.path("train"))
    again = train.run(run, [])

    card = store.read_json(run.lake.encoder(again.wrote["space_id"], "card.json"))
    assert standing == ["checkpoint.npz", "history.json"]
    assert card["resumed_at"] >= 1
    assert again.wrote == straight.wrote
    assert store.names(run.path("train")) == ["candidate.json", "history.json"]
    assert len(store.read_json(run.path("train", "history.json"))) == 4


def test_a_checkpoint_that_is_damaged_is_left_for_a_new_beginning(ready, in_bucket):
    straight = train.run(listed(ready), [])
    shutil.rmtree(ready.path("train"))
    run = in_bucket(ready)
    store.delete(run.lake.own("encoders"))
    store.write_bytes(run.path("train", "checkpoint.npz"), b"PK\x03\x04?")

    assert train.run(run, []).wrote == straight.wrote


@pytest.mark.slow
def test_a_fit_in_closed_form_is_the_same_in_beam_and_in_one_process(
    ready, in_bucket, monkeypatch, caplog
):
    caplog.set_level("INFO")
    small = {"atoms": 8, "patch_side": 4, "patches": 500, "slow_features": 4}
    encoder = PatchSettings(latent_dim=6, **small)
    settings = ready.settings.model_copy(update={"encoder": encoder})
    run = in_bucket(dataclasses.replace(listed(ready), settings=settings))
    by_beam = train.run(run, ["--direct_num_workers=2"])
    assert "added up by Beam" in caplog.text
    card = store.read_json(run.lake.encoder(by_beam.wrote["space_id"], "card.json"))
    store.delete(run.path("train"))
    store.delete(run.lake.own("encoders"))

    monkeypatch.setattr(PatchSettings, "CLOSED_FORM", False)
    alone = train.run(run, [])

    assert alone.wrote == by_beam.wrote
    assert card["preset"] == "patch"
    assert (card["epochs"], card["best_epoch"], card["resumed_at"]) == (1, 1, 0)
    assert card["losses"]["val_loss"] > 0
    assert store.names(run.path("train")) == ["candidate.json", "history.json"]


def test_the_candidate_says_what_it_was_trained_on(ready):
    found = train.run(ready, [])

    assert found.note.endswith("epochs, tensorflow on the CPU")
