"""The transform stage: the fitted graph, its table, and the examples."""

import dataclasses
import json
import pathlib

import numpy as np
import pytest

from models import tfrecord
from models.data import Examples
from models.spec import ImageShape
from models.transform import Transform
from pipelines.engine import parts
from pipelines.errors import ArtifactMismatch, BadNight
from pipelines.lake import pointer, shards, store
from pipelines.stages import transform

SHAPE = ImageShape(16, 16, 3)


def pixels_of(run, split):
    """Return the images of ``split`` by digest, as the shards hold them."""
    found = {}
    for row in parts.corpus(run)[1].to_pylist():
        if row["split"] == split:
            shard = shards.read_shard(run.lake.shard_file(row["shard"]))
            found[row["image_id"]] = shard.pixels[row["row"]]
    return found


def examples_of(run, transform_id, split):
    folder = pathlib.Path(run.lake.examples(transform_id, split))
    paths = sorted(str(path) for path in folder.iterdir())
    every = Examples(paths, SHAPE)
    return every.read(range(len(every)))


@pytest.fixture(scope="module")
def both(staged_once):
    """Return runs with a fitted transform, and what the stage said, by its kind."""
    found = {}
    for number, kind in enumerate(("per_channel", "per_pixel")):
        run = staged_once.run(f"2026-01-01-{number}", transform={"normalise": kind})
        staged_once.ingest(run, {"2026-01-01": [30, 20]})
        found[kind] = run, transform.run(run, [])
    return found


@pytest.fixture(params=["per_channel", "per_pixel"])
def fitted(request, both):
    return both[request.param]


@pytest.fixture
def plain(both):
    return both["per_channel"]


def test_values_are_those_of_numpy(fitted):
    run, result = fitted
    train = pixels_of(run, "train")
    values = np.stack(list(train.values())) / 255.0
    axes = 0 if run.settings.transform.normalise == "per_pixel" else (0, 1, 2)

    batch = examples_of(run, result.wrote["transform_id"], "train")

    wanted = {
        image_id: (pixels / 255.0 - values.mean(axes)) / values.std(axes)
        for image_id, pixels in train.items()
    }
    assert sorted(batch.image_ids) == sorted(wanted)
    for image_id, image in zip(batch.image_ids, batch.images, strict=True):
        assert np.allclose(image, wanted[image_id], atol=1e-5)


def test_table_graph_and_examples_agree_to_the_last_bit(fitted):
    from pipelines.stages import transform_graph

    run, result = fitted
    folder = run.lake.transform(result.wrote["transform_id"])
    graph = transform_graph.load(f"{folder}/transform_fn")
    known = Transform(folder)

    for split in ("train", "eval"):
        images = pixels_of(run, split)
        batch = examples_of(run, result.wrote["transform_id"], split)
        pixels = np.stack([images[image_id] for image_id in batch.image_ids])
        assert np.array_equal(batch.images, graph(pixels))
        if known.lookup is not None:
            assert np.array_equal(batch.images, known.look_up(pixels))


def test_a_transform_can_be_undone(fitted):
    run, result = fitted
    known = Transform(run.lake.transform(result.wrote["transform_id"]))
    images = pixels_of(run, "eval")

    batch = examples_of(run, result.wrote["transform_id"], "eval")

    pixels = np.stack([images[image_id] for image_id in batch.image_ids])
    assert np.allclose(known.undo(batch.images), pixels / 255.0, atol=1e-5)


def test_counts_and_labels_are_those_of_the_corpus(plain):
    run, result = plain

    rows = parts.corpus(run)[1].to_pylist()
    labels = {row["image_id"]: row["label"] for row in rows}
    for split in ("train", "eval"):
        batch = examples_of(run, result.wrote["transform_id"], split)
        assert result.counts[split] == len(batch.image_ids)
        assert batch.labels == [labels[image_id] for image_id in batch.image_ids]
    assert result.counts["train"] + result.counts["eval"] == 50


def test_a_second_run_of_the_stage_changes_nothing(plain, content):
    run, first = plain
    before = content(run.lake.own())

    second = transform.run(run, [])

    assert second.wrote == first.wrote
    assert content(run.lake.own()) == before


def test_the_same_images_in_other_shards_give_the_same_transform(staged):
    one = staged.ingest(staged.run(), {"2026-01-01": [40]})
    first = transform.run(one, [])
    rows = parts.corpus(one)[1]
    other = dataclasses.replace(one, run_id="2026-01-01-2")
    half = len(rows) // 2
    shard = shards.read_shard(one.lake.shard_file(rows["shard"][0].as_py()))
    images = list(map(shards.ShardImage, shard.image_ids, shard.pixels, shard.labels))
    changed = rows.to_pylist()
    for row in changed:
        night = "2026-01-02" if row["row"] < half else "2026-01-03"
        row["shard"] = f"{one.image_spec_id}/{night}/ab.tfrecord"
        row["row"] %= half
    for night, part in (("2026-01-02", images[:half]), ("2026-01-03", images[half:])):
        name = f"{one.image_spec_id}/{night}/ab.tfrecord"
        shards.write_shard(one.lake.shard_file(name), part)
    table = type(rows).from_pylist(changed, schema=rows.schema)
    parts.ranges.write(other.path("corpus.arrow"), table.sort_by("shard"))

    second = transform.run(other, [])

    assert second.wrote == first.wrote


def test_nights_that_were_analysed_are_not_read_again(staged, monkeypatch):
    from pipelines.stages import transform_job

    nights = {"2026-01-01": [30], "2026-01-02": [20]}
    run = staged.ingest(staged.run(), nights)
    first = transform.run(run, [])
    store.delete(run.lake.transform(first.wrote["transform_id"]))
    cache = run.lake.analyzer_cache(run.image_spec_id)
    assert [name[:10] for name in store.names(cache)] == sorted(nights)
    monkeypatch.setattr(transform_job.ReadTraining, "process", None)

    second = transform.run(run, [])

    assert second.wrote == first.wrote


def test_the_cap_holds_for_examples_and_not_for_statistics(staged):
    whole = staged.ingest(staged.run(), {"2026-01-01": [40]})
    whole_result = transform.run(whole, [])
    capped = staged.run("2026-01-01-2", transform={"max_train_images": 7})
    staged.ingest(capped, {"2026-01-01": [40]})

    result = transform.run(capped, [])

    assert result.wrote == whole_result.wrote
    assert result.counts["train"] == 7
    assert result.counts["eval"] == whole_result.counts["eval"]
    batch = examples_of(capped, result.wrote["transform_id"], "train")
    every = sorted(pixels_of(capped, "train"), key=lambda image_id: image_id[32:])
    assert sorted(batch.image_ids) == sorted(every[:7])


def test_stale_and_damaged_examples_are_made_good(plain, content):
    run, result = plain
    folder = pathlib.Path(run.lake.examples(result.wrote["transform_id"], "train"))
    before = content(folder)
    (folder / "2025-01-01-gone.tfrecord").write_bytes(b"of a shard that left")
    damaged = folder / min(before)
    damaged.write_bytes(before[damaged.name][:-5])

    transform.run(run, [])

    assert content(folder) == before


def test_examples_are_read_by_tensorflow_too(plain):
    import tensorflow as tf

    run, result = plain
    folder = pathlib.Path(run.lake.examples(result.wrote["transform_id"], "train"))
    path = min(folder.iterdir())
    spec = {
        "image": tf.io.FixedLenFeature([SHAPE.size], tf.float32),
        "image_id": tf.io.FixedLenFeature([], tf.string),
        "label": tf.io.FixedLenFeature([], tf.string),
    }

    records = [
        tf.io.parse_single_example(record, spec)
        for record in tf.data.TFRecordDataset(str(path))
    ]

    ours = [
        tfrecord.decode_example(payload)
        for payload in tfrecord.read_frames(path.read_bytes(), "")
    ]
    assert len(records) == len(ours) > 0
    for theirs, mine in zip(records, ours, strict=True):
        assert np.array_equal(theirs["image"].numpy(), mine["image"])
        assert theirs["image_id"].numpy() == mine["image_id"]


def test_a_table_that_differs_from_the_graph_is_refused(plain):
    from pipelines.stages.transform_fitted import Fitted

    run, result = plain
    known = Fitted(run.lake.transform(result.wrote["transform_id"]))
    known.transform.lookup[:, 1] += 1e-6
    images = np.stack(list(pixels_of(run, "train").values()))

    with pytest.raises(ArtifactMismatch, match=r"lookup\.npy gives other values"):
        known.check(images, "a shard")


def test_a_shard_with_other_images_is_refused(staged):
    run = staged.ingest(staged.run(), {"2026-01-01": [12]})
    path, rows = parts.corpus(run)
    (part,) = parts.parts_of(rows)
    file = run.lake.shard_file(part.shard)
    images = shards.read_shard(file)
    swapped = list(
        map(shards.ShardImage, images.image_ids[::-1], images.pixels, images.labels)
    )
    shards.write_shard(file, swapped)

    with pytest.raises(ArtifactMismatch, match="does not hold the images"):
        parts.read_shard(run.lake, part, parts.rows_of(path, part))


@pytest.mark.parametrize(
    ("fraction", "what"), [(0.999999, "training"), (0.000001, "held-out")]
)
def test_nothing_to_train_on_or_to_judge_by_is_a_bad_night(staged, fraction, what):
    run = staged.run(split={"eval_fraction": fraction})
    staged.ingest(run, {"2026-01-01": [3]})

    with pytest.raises(BadNight, match=f"no {what} image"):
        transform.run(run, [])


def accept(run, **changes):
    """Accept an encoder that was judged on the night before, by its card alone."""
    card = {
        "image_spec_id": run.image_spec_id,
        "encoder": run.settings.encoder.model_dump(mode="json"),
        "transform": run.settings.transform.model_dump(mode="json"),
    }
    store.write_json(run.lake.encoder("space", "card.json"), card | changes)
    earlier = dataclasses.replace(run, night="2025-12-31", run_id="2025-12-31-1")
    pointer.accept(run.lake, "space", earlier)
    pointer.note_attempt(run.lake, earlier, "space", "accepted")


def test_a_night_on_which_none_is_due_is_skipped(staged):
    run = staged.ingest(staged.run(), {"2026-01-01": [12]})
    accept(run)

    result = transform.run(run, [])

    assert result.skipped
    assert not store.exists(run.path("corpus.arrow"))


def test_changed_settings_make_it_due(staged):
    run = staged.ingest(staged.run(), {"2026-01-01": [12]})
    accept(run, encoder={"latent_dim": 99})

    result = transform.run(dataclasses.replace(run, dry_run=True), [])

    assert "encoder.latent_dim" in result.note


def test_a_dry_run_fits_nothing(staged):
    run = staged.ingest(staged.run(), {"2026-01-01": [12]})

    result = transform.run(dataclasses.replace(run, dry_run=True), [])

    assert result.skipped
    assert "no encoder was accepted yet" in result.note


def test_the_card_says_what_it_is(plain):
    run, result = plain

    folder = pathlib.Path(run.lake.transform(result.wrote["transform_id"]))
    card = json.loads((folder / "transform.json").read_text())
    assert card["transform_id"] == result.wrote["transform_id"]
    assert card["image_spec_id"] == run.image_spec_id
    assert (card["height"], card["width"], card["channels"]) == SHAPE
