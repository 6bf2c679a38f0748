import json
import pathlib
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from pipelines.commands import generate
from pipelines.commands.generate import Wish
from pipelines.errors import ConfigError
from pipelines.lake import tables
from pipelines.lake.layout import Lake


def ask(made, out, **wish):
    return generate.run(
        made.lake.root, "stripes", Wish(**{"count": 20} | wish, out=str(out))
    )


def images(folder):
    return np.stack(
        [np.asarray(Image.open(path)) for path in sorted(folder.glob("images/*.png"))]
    )


@pytest.fixture(scope="module")
def generated(made, tmp_path_factory):
    """Return the folder that a generation left, and the tables before and after."""
    folder = tmp_path_factory.mktemp("generated") / "new"
    before = tables.main_ids(made.lake)
    code = ask(made, folder)
    assert code == 0
    return folder, before, tables.main_ids(made.lake)


def test_as_many_images_as_are_asked_for_are_written_with_a_sheet(generated):
    folder, before, after = generated

    assert images(folder).shape == (20, 12, 12)
    with Image.open(folder / generate.SHEET) as sheet:
        assert min(sheet.size) > 700
    assert before == after


def test_generated_stripes_are_nearer_to_real_ones_than_noise_is(generated, made):
    figures = json.loads((generated[0] / generate.REPORT).read_text())

    apart = figures["frechet"]
    assert apart["generated"] < apart["noise"] / 2
    assert figures["neighbours"]["ok"]
    assert figures["space_id"] == made.space_id
    assert figures["density"]["density"] == "mixture"


def test_the_same_seed_gives_the_same_images_and_another_one_others(
    generated, made, tmp_path
):
    ask(made, tmp_path / "same", count=5)
    ask(made, tmp_path / "other", count=5, seed=1, density="prior")

    first = images(generated[0])[:5]
    assert (images(tmp_path / "same") == first).all()
    assert (images(tmp_path / "other") != first).any()


def test_a_variational_encoder_is_drawn_from_by_its_prior(made):
    from models import artifact
    from pipelines.commands import generating

    encoder = artifact.load(made.lake.encoder(made.space_id))
    latents = np.random.default_rng(0).normal(size=(60, 6))
    wish = Wish(count=1)

    plain = generating.choose_density(encoder, latents, wish)
    encoder.card["encoder"]["kl"] = 0.5
    found = generating.choose_density(encoder, latents, wish)

    assert plain.describe()["density"] == "mixture"
    assert found.describe()["density"] == "prior"
    drawn = found.sample(7, np.random.default_rng(0))
    assert drawn.shape == (7, 6)
    assert np.isfinite(encoder.decode(drawn)).all()


def test_a_folder_that_stands_is_left_as_it_is(generated, made):
    before = sorted(path.name for path in generated[0].iterdir())

    with pytest.raises(ConfigError, match="stands already"):
        ask(made, generated[0])

    assert sorted(path.name for path in generated[0].iterdir()) == before


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"count": 0}, "from 1 to 100,000"),
        ({"count": 100_001}, "from 1 to 100,000"),
        ({"space": "nowhere"}, "no such encoder; there are"),
    ],
)
def test_what_cannot_be_made_is_refused_before_anything_is_written(
    made, tmp_path, wish, words
):
    with pytest.raises(ConfigError, match=words):
        ask(made, tmp_path / "new", **wish)

    assert list(tmp_path.iterdir()) == []


def test_a_generation_that_fails_leaves_no_folder(made, tmp_path, monkeypatch):
    from pipelines.commands import generating

    monkeypatch.setattr(generating, "LEAST", 100_000)

    with pytest.raises(ConfigError, match="the fewest"):
        ask(made, tmp_path / "new")

    assert list(tmp_path.iterdir()) == []


def test_a_dataset_without_an_accepted_encoder_is_told_how_to_get_one(
    nights, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    tables.ensure(nights.lake)
    pathlib.Path(nights.lake.accepted).unlink()

    with pytest.raises(ConfigError, match="latentlake night digits"):
        generate.run(nights.lake.root, "digits", Wish(count=1))


def test_a_dataset_without_tables_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    with pytest.raises(ConfigError, match="'ghost' has no tables"):
        generate.run(str(tmp_path / "mistyped"), "ghost", Wish(count=1))

    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_generated_digits_lie_between_the_floor_and_the_ceiling(tmp_path):
    root = pathlib.Path(__file__).parents[2]
    digits = root / "deploy" / "local" / "digits.py"
    subprocess.run([sys.executable, digits, tmp_path / "digits"], check=True)
    settings = (root / "dags" / "datasets" / "digits.toml").read_text()
    file = tmp_path / "digits.toml"
    file.write_text(settings.replace(".demo/digits", str(tmp_path / "digits")))
    lake = Lake(str(tmp_path / "lake"), "digits")
    for words in (["night", str(file)], ["generate", "digits", "--out", "new"]):
        command = [sys.executable, "-m", "pipelines", *words, "--lake", lake.root]
        subprocess.run(command, cwd=tmp_path, check=True)

    figures = json.loads((tmp_path / "new" / generate.REPORT).read_text())

    apart = figures["frechet"]
    middle = (apart["training"] + apart["noise"]) / 2
    assert apart["training"] < apart["generated"] < apart["noise"]
    assert apart["generated"] < 1.25 * middle
    assert figures["neighbours"]["ok"]
