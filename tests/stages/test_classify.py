import numpy as np
import pyarrow as pa
import pytest
import skops.io
from PIL import Image

from pipelines.lake import store
from pipelines.stages import classify, classifying, publish


def words(count=60):
    """Return entries: URI to word; the label is the folder."""
    return {
        f"/src/{number % 2}/{number:03}.png": f"w{number}" for number in range(count)
    }


def published(nights, entries, **fields):
    run = nights.night("2026-01-01", entries, **fields)
    publish.run(run, [])
    return run


def test_a_table_without_rows_is_skipped(nights):
    result = classify.run(nights.begin("2026-01-01"), [])

    assert result.skipped
    assert "no rows" in result.note


@pytest.mark.parametrize("label", [None, "only"])
def test_fewer_than_two_labels_are_skipped(nights, label):
    run = published(nights, words(), label=label)

    result = classify.run(run, [])

    assert result.skipped
    assert "Fewer than two labels" in result.note


def rows(count=200, seed=0, classes=("a", "b", "c")):
    rng = np.random.default_rng(seed)
    which = rng.integers(len(classes), size=count)
    latents = rng.normal(size=(count, 5)) + 8 * np.eye(3, 5)[which]
    split = np.where(rng.random(count) < 0.3, "eval", "train")
    return pa.table(
        {
            "label": pa.array([classes[one] for one in which], pa.string()),
            "split": split.tolist(),
            "latent": pa.array(latents.tolist(), pa.list_(pa.float32())),
        }
    )


def test_labels_far_apart_are_learned():
    table = rows()

    learned = classifying.learn(table)

    assert learned.card["accuracy"] > 0.98
    assert learned.card["macro_f1"] > 0.98
    assert learned.card["train"] + learned.card["held_out"] == 200
    assert np.sum(learned.card["confusion"]) == learned.card["held_out"]


def test_the_model_is_kept_without_pickle_and_names_new_latents():
    model = skops.io.loads(classifying.learn(rows()).model)

    assert skops.io.get_untrusted_types(data=classifying.learn(rows()).model) == []
    assert model.predict([[8.0, 0, 0, 0, 0]]).tolist() == ["a"]


def test_images_without_labels_take_no_part():
    table = rows()
    labels = [
        None if at < 50 else one for at, one in enumerate(table["label"].to_pylist())
    ]

    learned = classifying.learn(table.set_column(0, "label", pa.array(labels)))

    assert learned.card["train"] + learned.card["held_out"] == 150


def test_a_label_only_held_out_images_have_counts_as_wrong():
    table = rows()
    labels = [
        "rare" if split == "eval" and at % 5 == 0 else label
        for at, (label, split) in enumerate(
            zip(table["label"].to_pylist(), table["split"].to_pylist(), strict=True)
        )
    ]

    learned = classifying.learn(table.set_column(0, "label", pa.array(labels)))

    assert learned.card["by_class"]["rare"]["recall"] == 0.0
    assert learned.card["accuracy"] < 0.95


def test_the_confusion_matrix_is_a_picture_whatever_labels_are_called(tmp_path):
    names = ["$x^", "<script>", "ä" * 50]

    data = classifying.draw(np.diag([3, 4, 5]), names)

    (tmp_path / "a.png").write_bytes(data)
    with Image.open(tmp_path / "a.png") as picture:
        assert min(picture.size) > 300


def test_a_published_table_is_classified_once(nights):
    for label, entries in enumerate(halves(words(200))):
        run = nights.night(f"2026-01-0{label + 1}", entries, label=str(label))
        publish.run(run, [])

    result = classify.run(run, [])

    assert not result.skipped
    assert set(result.figures) == {"accuracy", "macro_f1"}
    assert all(store.exists(path) for path in result.wrote.values())
    again = classify.run(run, [])
    assert again.figures == result.figures
    assert "before" in again.note


def halves(entries):
    return [
        {uri: word for uri, word in entries.items() if f"/{label}/" in uri}
        for label in "01"
    ]
