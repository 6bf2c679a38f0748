import os
import pathlib
import tomllib

import numpy as np
import optuna
import pytest
from PIL import Image

from models import tfrecord
from models.data import Examples
from models.spec import ImageShape
from pipelines import config
from pipelines.commands import tune, tune_space, tune_study, tune_trial
from pipelines.commands.tune import Wish
from pipelines.errors import ConfigError, LakeBusy


def ask(made, out, **wish):
    return tune.run(
        made.lake.root, "stripes", Wish(**{"minutes": 5.0} | wish, out=str(out))
    )


@pytest.fixture(scope="module")
def tuned(made, tmp_path_factory):
    """Return the folder that two calls left, each of one trial."""
    out = tmp_path_factory.mktemp("tuned")
    for trials in (1, 2):
        assert ask(made, out, trials=trials, work=str(out / "work")) == 0
    return out


@pytest.fixture
def untrained(monkeypatch):
    """Let trials come to a figure at once; return the settings that were tried."""
    tried = []

    def attempt(case, settings, folder, progress):
        tried.append(settings)
        rate = settings.train.learning_rate
        figures = {"linear": rate, "psnr": rate}
        return tune_trial.Outcome(rate, figures, np.full(3, rate), 0.1)

    monkeypatch.setattr(tune_trial, "attempt", attempt)
    return tried


def studied(out):
    """Return the choices of all trials that came to an end."""
    (folder,) = (out / "work").iterdir()
    with tune_study.opened(str(folder)) as study:
        return [one.user_attrs["choice"] for one in tune_study.finished(study)]


@pytest.fixture
def set_to(tmp_path, monkeypatch):
    """Let the dataset have a settings file; return what writes it."""
    monkeypatch.setenv("LATENTLAKE_DATASETS", str(tmp_path / "datasets"))

    def write(encoder):
        file = tmp_path / "datasets" / "stripes.toml"
        file.parent.mkdir(exist_ok=True)
        file.write_text(
            '[source]\npath = "/stripes"\n[gate]\nallow_small = true\n'
            f"[train]\nmin_images = 10\n[encoder]\n{encoder}"
        )

    return write


@pytest.mark.parametrize(
    "encoder",
    [
        'preset = "patch"\n',
        'preset = "fusion"\nlatent_dim = 12\noverrides = ["conv.latent_dim = 8", '
        '"conv.widths = [4]", "conv.train.epochs = 1", "patch.latent_dim = 12"]\n',
    ],
)
def test_a_search_is_of_what_the_settings_file_says_by_now(
    made, tmp_path, set_to, encoder
):
    set_to(encoder)

    ask(made, tmp_path / "out", trials=1, work=str(tmp_path / "out" / "work"))

    found = tomllib.loads((tmp_path / "out" / tune.FRAGMENT).read_text())
    assert found["encoder"]["preset"] in encoder


def test_a_settings_file_that_does_not_suit_the_examples_is_named(
    made, tmp_path, set_to
):
    set_to('preset = "vit"\npatch = 16\n')

    with pytest.raises(ConfigError, match=r"stripes\.toml, with the images of run"):
        ask(made, tmp_path / "out")


def test_a_search_that_is_gone_on_with_repeats_no_trial(tuned):
    choices = studied(tuned)

    assert len(choices) == 2
    assert all(choices.count(one) == 1 for one in choices)


def test_the_first_trial_is_of_the_datasets_own_settings(tuned, made):
    assert studied(tuned)[0] == tune_space.own(made.run.settings)


@pytest.mark.slow
def test_a_search_cut_off_between_trials_makes_the_same_ones(made, tmp_path, untrained):
    for out, calls in (("one", (12,)), ("several", (1, 5, 12))):
        for trials in calls:
            place = tmp_path / out
            ask(made, place, trials=trials, work=str(place / "work"))

    assert len(untrained) == 24
    assert untrained[:12] == untrained[12:]
    assert studied(tmp_path / "one") == studied(tmp_path / "several")


def test_the_fragment_fits_into_a_datasets_settings(tuned, made):
    text = (tuned / tune.FRAGMENT).read_text()

    values = tomllib.loads(text)
    found = config.parse(
        {"source": {"path": "/stripes"}, "image": made.run.settings.image.model_dump()}
        | values,
        origin="test",
    )
    assert set(values) == {"encoder", "train"}
    assert found.train.min_images == 10
    assert found.encoder.latent_dim == 6
    assert "linear probe" in text.lower()


def test_the_search_is_a_picture(tuned):
    with Image.open(tuned / tune.PICTURE) as picture:
        assert min(picture.size) > 500


def test_the_time_budget_holds_within_one_trial(made, tmp_path, untrained):
    ask(made, tmp_path, minutes=0.01 / 60, work=str(tmp_path / "work"))

    assert len(untrained) == 1


def test_a_trial_that_was_killed_is_made_again_and_no_other(
    made, tmp_path, untrained, monkeypatch
):
    def killed(*args):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(tune_trial, "attempt", killed)
        with pytest.raises(KeyboardInterrupt):
            ask(made, tmp_path, work=str(tmp_path / "work"))

    ask(made, tmp_path, trials=1, work=str(tmp_path / "work"))

    assert untrained == [made.run.settings]


@pytest.mark.slow
def test_the_answer_says_what_was_gained_over_the_datasets_own_settings(
    made, tmp_path, untrained
):
    ask(made, tmp_path, trials=12, work=str(tmp_path / "work"))

    text = (tmp_path / tune.FRAGMENT).read_text()
    best = max(settings.train.learning_rate for settings in untrained)
    assert tomllib.loads(text)["train"]["learning_rate"] == best > 0.01
    assert "Gain +" in text
    assert "partly luck" in text


def test_a_second_search_of_the_same_settings_is_refused(tmp_path):
    second = tune_study.opened(str(tmp_path))

    with tune_study.opened(str(tmp_path)), pytest.raises(LakeBusy, match="at work"):
        second.__enter__()


@pytest.mark.parametrize(
    ("wish", "words"),
    [
        ({"minutes": 0.0}, "more than 0"),
        ({"trials": 0}, "1 or more"),
        ({"images": 3}, "50 or more"),
        ({"work": "s3://far/away"}, "a folder of this machine"),
    ],
)
def test_wishes_that_make_no_sense_are_refused(made, tmp_path, wish, words):
    with pytest.raises(ConfigError, match=words):
        ask(made, tmp_path / "out", **wish)

    assert list(tmp_path.iterdir()) == []


def test_a_dataset_without_examples_is_told_how_to_get_some(nights, tmp_path):
    nights.begin("2026-01-01")

    with pytest.raises(ConfigError, match="--retrain always"):
        tune.run(nights.lake.root, "digits", Wish(minutes=1.0))


def test_what_is_judged_is_never_learned_from(made):
    with tune._case(made.run, Wish(minutes=1.0)) as case:
        ids = [
            {one for batch in part.batches(64) for one in batch.image_ids}
            for part in (case.train, case.judged)
        ]

    assert not ids[0] & ids[1]
    assert len(ids[0] | ids[1]) == len(case.train) + len(case.judged) == 240
    assert case.figure == "linear"


def trial(number, value, losses, width):
    distributions = {"encoder.w": optuna.distributions.CategoricalDistribution([1, 2])}
    return optuna.trial.create_trial(
        params={"encoder.w": width},
        distributions=distributions,
        value=value,
        intermediate_values=dict(enumerate(losses, start=1)),
        state=optuna.trial.TrialState.COMPLETE,
    )


@pytest.mark.parametrize(("width", "given_up"), [(1, True), (2, False)])
def test_a_trial_is_given_up_only_for_losses_of_the_same_encoder(width, given_up):
    study = optuna.create_study(direction="maximize")
    for number in range(4):
        study.add_trial(trial(number, 90.0, [0.5, 0.4, 0.3, 0.2], width=1))
    bad = trial(4, 95.0, [0.9, 0.9, 0.9, 0.9], width)

    assert tune_study.AmongAlike().prune(study, bad) is given_up


@pytest.mark.parametrize("preset", ["conv", "instance", "patch", "resnet", "vit"])
def test_every_preset_has_something_to_search_and_its_choices_are_valid(preset):
    values = {"source": {"path": "x"}, "encoder": {"preset": preset}}
    settings = config.parse(values, origin="test")
    study = optuna.create_study()

    for _ in range(5):
        choice = tune_space.suggest(study.ask(), settings)
        tune_space.chosen(settings, choice)
        text = tune_space.fragment(settings, choice)
        assert config.parse(
            {"source": {"path": "x"}} | tomllib.loads(text), origin="test"
        ) == tune_space.chosen(settings, choice)
    assert any(name.startswith("encoder.") for name in choice)
    assert ("train.epochs" in choice) is not settings.encoder.CLOSED_FORM


@pytest.mark.parametrize(
    ("encoder", "searched"),
    [
        ({"preset": "conv"}, False),
        ({"preset": "conv", "discriminative": 0.1}, True),
        ({"preset": "instance"}, True),
    ],
)
def test_mirroring_is_searched_where_there_are_views(encoder, searched):
    values = {"source": {"path": "x"}, "encoder": encoder}

    found = dict(tune_space.options(config.parse(values, origin="test")))

    assert ("flip" in found) is searched


def test_a_bucket_lake_keeps_its_study_on_this_machine(made, tmp_path, capsys):
    import dataclasses

    from pipelines.lake.layout import Lake

    run = dataclasses.replace(made.run, lake=Lake("s3://bucket/lake", "stripes"))
    with tune._case(made.run, Wish(minutes=1.0)) as case:
        folder = tune._study_folder(run, case, Wish(minutes=1.0), str(tmp_path))
        local = tune._study_folder(made.run, case, Wish(minutes=1.0), str(tmp_path))

    assert pathlib.Path(folder).parent == tmp_path / "study"
    assert folder in capsys.readouterr().out.replace("\n", "")
    assert local.startswith(made.lake.root)
    assert os.path.basename(local) == os.path.basename(folder)


def test_scores_without_labels_are_decibels(made):
    settings = made.run.settings
    settings = settings.model_copy(
        update={"gate": settings.gate.model_copy(update={"primary": "psnr"})}
    )
    with tune._case(made.run, Wish(minutes=1.0)) as case:
        figure = tune_trial.figure_of(settings, case.train, case.judged)

    assert figure == "psnr"
    assert np.isfinite(case.transform.undo(np.zeros((1, 2, 2, 1)))).all()


def test_some_examples_lie_in_the_files_that_all_lie_in(tmp_path):
    paths = []
    for name in ("a", "b"):
        payloads = [
            tfrecord.encode_example(
                {"image": np.zeros(4, np.float32), "image_id": f"{name}{at}".encode()}
            )
            for at in range(5)
        ]
        paths.append(str(tmp_path / name))
        with pathlib.Path(paths[-1]).open("wb") as file:
            tfrecord.write_frames(file, payloads)
    whole = Examples(paths, ImageShape(2, 2, 1))

    some = tune_trial.Part(whole, np.array([1, 3, 4, 6, 9]))

    batches = some.file_batches(2, np.arange(5))
    ids = [batch.image_ids for batch in batches]
    assert ids == [["a1", "a3"], ["a4"], ["b1", "b4"]]
    places = [(one.path, one.rows.tolist()) for one in some.by_file(np.arange(1, 5))]
    assert places == [(paths[0], [3, 4]), (paths[1], [1, 4])]
