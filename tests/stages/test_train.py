import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest

from models import artifact, tfrecord
from models.transform import sha256_of
from pipelines.config import Settings
from pipelines.errors import BadNight, ConfigError, LatentlakeError
from pipelines.lake import manifest
from pipelines.lake.layout import Lake
from pipelines.lake.run import Run
from pipelines.stages import train

TRANSFORM = "t" * 16


def make_run(root, **values):
    settings = {
        "source": {"path": "/images"},
        "image": {"height": 16, "width": 16, "channels": 1},
        "encoder": {"latent_dim": 6, "widths": [4, 8]},
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
