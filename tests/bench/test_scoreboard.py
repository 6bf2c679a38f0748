import json
import os
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from quality import coders, datasets, extensions, kept, measure, page, rows, speed
from quality.rows import Row

SMALL = Row(
    "small",
    "preset",
    {"preset": "conv", "latent_dim": 4, "widths": [4, 4]},
    {"epochs": 2, "batch_size": 16},
    seeds=(0, 1),
)
PCA = Row("pca-4", "pca", {"latent_dim": 4}, seeds=(0,))
ENTRY = pathlib.Path(__file__).parents[2] / "bench" / "quality.py"


class Killed(BaseException):
    """Stands for a process that ends in the middle of a training."""


@pytest.fixture(scope="module")
def work(tmp_path_factory) -> pathlib.Path:
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def found(tiny, work) -> dict:
    """The figures of a small encoder whose first training ended after one epoch."""

    class Fatal(measure.Meter):
        def epoch_done(self, record):
            super().epoch_done(record)
            raise Killed

    images = datasets.load(tiny, work / "tiny")
    of = kept.identity(SMALL, tiny, 0)
    own = f"small/0-{of['settings'][:8]}-{of['code'][:8]}"
    places = coders.Places(work / "tiny", own, tiny.shape)
    file = places.fit / "cpu_seconds.json"
    with pytest.raises(Killed):
        coders.train(SMALL, images, 0, places, Fatal(file))
    before = json.loads(file.read_text())
    figures = measure.measure(SMALL, tiny, 0, work)
    return figures | {"before": before, "artifact": places.artifact}


def test_a_row_that_was_cut_off_goes_on_and_its_time_adds_up(found):
    card = json.loads((found["artifact"] / "card.json").read_text())

    assert card["resumed_at"] == 1
    assert card["epochs"] == 2
    assert 0 < found["before"] < 60 * found["figures"]["train_cpu_minutes"]


def test_a_pass_in_closed_form_has_no_loss_and_counts_too(tmp_path):
    meter = measure.Meter(tmp_path / "cpu_seconds.json")

    meter.epoch_done({"epoch": 1, "seconds": 0.5})

    assert json.loads((tmp_path / "cpu_seconds.json").read_text()) > 0.0
    assert measure.Meter(tmp_path / "cpu_seconds.json").seconds > 0.0


def test_a_row_says_all_that_the_page_shows(found):
    figures = found["figures"]

    assert figures["linear"] == 1.0  # the halves are easily told apart
    assert figures["knn"] > 0.9
    assert figures["latent_dim"] == 4
    assert 5 < figures["psnr"] < 40
    assert figures["encode_per_second"] > 0
    assert figures["encode_mflop"] > 0.001
    assert figures["health"]["dead_dims"] == 0
    assert figures["int8"]["bytes"] < 8


def test_a_fitted_encoder_is_not_fitted_again(found, tiny, work):
    images = datasets.load(tiny, work / "tiny")
    places = coders.Places(work / "tiny", found["artifact"].parent.name, tiny.shape)
    places.artifact = found["artifact"]
    places.fit = found["artifact"].with_name("fit")
    stamp = found["artifact"].stat().st_mtime_ns

    _, seconds = measure.fitted(SMALL, images, 0, places)

    assert found["artifact"].stat().st_mtime_ns == stamp
    wanted = 60 * found["figures"]["train_cpu_minutes"]
    assert seconds == pytest.approx(wanted, rel=1e-9)


def test_figures_stand_until_settings_or_code_change(tiny, tmp_path):
    file = kept.path(tmp_path, "tiny", "pca-4", 0)
    wanted = kept.identity(PCA, tiny, 0)
    assert not kept.stands(file, wanted)

    kept.write(file, {"of": wanted})

    assert kept.stands(file, wanted)
    other = Row("pca-4", "pca", {"latent_dim": 5})
    assert not kept.stands(file, kept.identity(other, tiny, 0))
    assert not kept.stands(file, kept.identity(PCA, tiny, 1))
    assert not kept.stands(file, wanted | {"code": "another"})


def test_comments_and_other_presets_are_not_a_rows_code(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "ROOT", tmp_path)
    models = tmp_path / "models" / "presets"
    models.mkdir(parents=True)
    (models / "conv.py").write_text("from models import part\n")
    part = tmp_path / "models" / "part.py"
    part.write_text('"""Words."""\nSIZE = 1\n')
    before = kept.code_digest(SMALL)

    part.write_text('"""Other words."""\nSIZE = 1  # a comment\n')
    (models / "patch.py").write_text("SIZE = 2\n")
    assert kept.code_digest(SMALL) == before
    part.write_text("SIZE = 2\n")
    assert kept.code_digest(SMALL) != before


def test_what_is_fused_is_a_fusions_code_and_settings(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "ROOT", tmp_path)
    presets = tmp_path / "models" / "presets"
    presets.mkdir(parents=True)
    for name in ("conv", "fusion", "patch", "vit"):
        (presets / f"{name}.py").write_text("SIZE = 1\n")
    row = Row("fusion", "preset", {"preset": "fusion"})
    before = kept.code_digest(row)

    (presets / "vit.py").write_text("SIZE = 2\n")
    assert kept.code_digest(row) == before
    (presets / "patch.py").write_text("SIZE = 2\n")
    assert kept.code_digest(row) != before
    assert [one.get("preset") for one in row.settings(0)["parts"][::2]] == [
        "conv",
        "patch",
    ]


def test_the_page_shows_what_is_kept_and_says_what_is_not(
    found, tiny, tmp_path, monkeypatch
):
    monkeypatch.setattr(page, "DATASETS", {"tiny": tiny})
    monkeypatch.setattr(page, "ROWS", (SMALL, PCA))
    plain = {name: found[name] for name in found if name not in ("before", "artifact")}
    kept.write(kept.path(tmp_path, "tiny", "small", 0), plain)
    figures = plain["figures"] | {"linear": 0.9}
    other = plain | {"of": {"settings": "other", "code": ""}, "figures": figures}
    kept.write(kept.path(tmp_path, "tiny", "small", 1), other)

    text = page.write(tmp_path, tmp_path).read_text()

    (line,) = [one for one in text.splitlines() if "95.0 ± 7.1" in one]
    assert line.startswith(f"| `small`{page.STALE} | 4 |")
    assert line.endswith("| 2 |")
    assert "- Tiny: `pca-4`\n" in text
    assert "(from memory)" in text
    assert (tmp_path / page.PICTURE).stat().st_size < 100_000


def test_the_page_shows_what_a_gpu_printed(tmp_path):
    file = tmp_path / page.GPU
    assert "Not yet measured" in page.on_gpu(file)

    file.write_text('log\n{"name": "linear", "ours": 85.1, "unit": "%"}\n')

    text = page.on_gpu(file)
    assert "| linear | 85.1 | % |  |  |" in text
    assert "Not yet measured" not in text
    assert "log" not in text.split("|---|")[-1]


def test_the_page_shows_what_extensions_are_worth_beside_what_each_is_for(tmp_path):
    of = {"minutes": 0.5, "images": 9000, "test": 500, "seed": 0}
    of |= {"noise": 0.8, "mask": 0.5}
    plain = {"linear": 40.0, "knn": 41.0, "psnr": 20.0, "psnr_of_noisy": 19.0}
    rows = [
        {"name": "plain", "settings": {}, "of": of, **plain},
        {"name": "noise", "settings": {"noise": 0.8}, "of": of, **plain},
    ]
    assert "Not yet measured" in extensions.section(tmp_path)
    lines = "".join(f"{json.dumps(row)}\n" for row in reversed(rows))
    (tmp_path / extensions.FILE).write_text(lines)

    text = extensions.section(tmp_path)

    assert "for 0.5 CPU-minutes\n" in text
    assert "on 9,000 training images" in text
    assert "| `plain` |  | 40.0 | 41.0 | 20.0 | 19.00 |" in text
    assert "| `noise` | noise = 0.8 | 40.0 | 41.0 | 20.0 | **19.00** |" in text
    assert text.index("`plain` |") < text.index("`noise` |")


def test_a_row_of_an_unknown_preset_or_option_is_named():
    with pytest.raises(rows.Unknown, match="no preset 'other'"):
        Row("a", "preset", {"preset": "other"}).encoder()
    with pytest.raises(rows.Unknown, match="wings"):
        Row("a", "preset", {"preset": "conv", "wings": 2}).encoder()


def test_an_unknown_row_is_answered_with_those_there_are():
    done = subprocess.run(
        [sys.executable, ENTRY, "cifar10/wings"],
        capture_output=True,
        text=True,
        # A script finds its neighbours, as at a desk.
        env=os.environ | {"PYTHONPATH": str(ENTRY.parents[1]), "PYTHONSAFEPATH": ""},
        check=False,
    )

    assert done.returncode == 1
    assert "no row is called 'cifar10/wings'" in done.stderr
    assert "cifar10/conv" in done.stderr


def test_an_absent_dataset_says_how_to_get_it(tiny, tmp_path):
    gone = tiny._replace(folder=tmp_path / "gone", absent="make it")

    with pytest.raises(datasets.Absent, match="gone is missing: make it"):
        datasets.load(gone, tmp_path)


def test_choices_are_made_on_a_tenth_of_the_training_images(tiny, work):
    images = datasets.load(tiny, work / "tiny")

    assert images.held_out.sum() == round(0.1 * len(images.train))
    assert len(images.test) == 32
    assert np.bincount(images.labels).tolist() == [48, 48]


def test_operations_are_two_for_each_multiplication():
    import keras

    images = keras.Input((8, 8, 3))
    maps = keras.layers.Conv2D(5, 3, padding="same", use_bias=False)(images)
    tokens = keras.layers.Reshape((64, 5))(maps)
    mixed = keras.layers.MultiHeadAttention(1, 4, use_bias=False)(tokens, tokens)

    plain = speed.operations(keras.Model(images, maps))
    more = speed.operations(keras.Model(images, mixed))

    assert plain == 2 * 64 * 9 * 3 * 5
    projections, scores = 4 * 2 * 64 * 5 * 4, 2 * 2 * 64 * 64 * 4
    softmax = more - plain - projections - scores
    assert 0 <= softmax <= 8 * 64 * 64
