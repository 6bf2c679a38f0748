"""Tune: search the settings of training and of the encoder for better ones."""

import contextlib
import dataclasses
import logging
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table

from pipelines import config
from pipelines.config import check_name
from pipelines.errors import ArtifactMismatch, ConfigError
from pipelines.lake import folders, manifest, store
from pipelines.lake import run as runs
from pipelines.lake.layout import Lake, absolute
from pipelines.lake.run import Run

if TYPE_CHECKING:  # Keras and Optuna are imported once there is something to search
    from optuna import Study

    from pipelines.commands.tune_trial import Case

FRAGMENT = "tuned.toml"
PICTURE = "search.png"
LEAST = 50
"""With fewer training examples nothing can be told apart."""
SHOWN = 5
TITLES = {"linear": ("linear probe", "%"), "psnr": ("PSNR", "dB")}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Wish:
    """How long is searched, in what, and where the answer goes.

    Attributes:
        minutes: After so long no further trial begins.
        trials: So many are made in all, over all calls; ``None`` for any number.
        images: Training examples that trials learn from and are judged on, at most.
        out: The folder of the answer; by default one of the dataset's name.
        work: The folder of the study; by default in the lake, for a bucket in ``out``.
    """

    minutes: float
    trials: int | None = None
    images: int = 20_000
    out: str | None = None
    work: str | None = None


def run(lake_root: str, dataset: str, wish: Wish) -> int:
    """Search, and write the best settings as TOML beside a picture of the search."""
    lake = Lake(absolute(lake_root), check_name(dataset))
    _check(wish)
    run = _as_now_set(_last_with_examples(lake))
    from models import device

    device.choose_backend()  # before Keras is imported
    # It warns of models traced anew, and here each trial is a model of its own.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    from pipelines.commands import tune_study
    from pipelines.commands.telling import timed

    out = os.path.abspath(wish.out or os.path.join("tuned", dataset))
    with _case(run, wish) as case:
        folder = _study_folder(run, case, wish, out)
        seconds = 60.0 * wish.minutes
        budget = tune_study.Budget(seconds, wish.trials)
        with tune_study.opened(folder) as study:
            with timed(seconds) as voice:
                tune_study.search(study, case, folder, budget, voice)
            _answer(run, case, study, (folder, out))
    return 0


def _check(wish: Wish) -> None:
    if not wish.minutes > 0.0:
        raise ConfigError(f"--minutes {wish.minutes:g}: give more than 0.")
    if wish.trials is not None and wish.trials < 1:
        raise ConfigError(f"--trials {wish.trials}: give 1 or more.")
    if wish.images < LEAST:
        raise ConfigError(f"--images {wish.images}: give {LEAST} or more.")
    for name, folder in (("--out", wish.out), ("--work", wish.work)):
        if folder and "://" in folder:
            raise ConfigError(f"{name} {folder}: give a folder of this machine.")


def _last_with_examples(lake: Lake) -> Run:
    """Return the last run whose training examples stand.

    Raises:
        ConfigError: There is none.
    """
    for run_id in reversed(runs.ids(lake)):
        found = manifest.read(lake, run_id, "transform")
        run = runs.pinned(lake, run_id)
        if run is None or found is None or found["status"] != "done":
            continue
        folder = lake.examples(found["wrote"]["transform_id"], "train")
        if store.names(folder):
            return run
    raise ConfigError(
        f"{lake.runs}: no run of {lake.dataset} has training examples that stand. Make "
        f"some: latentlake night {lake.dataset} --retrain always --lake {lake.root}"
    )


def _as_now_set(run: Run) -> Run:
    """Return ``run`` with what the dataset's file, where it has one, says by now."""
    file = config.find(run.lake.dataset)
    if not file.exists():
        return run
    now = config.load(file).model_dump(mode="json")
    values = run.settings.model_dump(mode="json")
    values |= {key: now[key] for key in ("encoder", "train", "gate")}
    origin = f"{file}, with the images of run {run.run_id}"
    return dataclasses.replace(run, settings=config.parse(values, origin=origin))


@contextlib.contextmanager
def _case(run: Run, wish: Wish) -> "Iterator[Case]":
    """Yield what every trial is trained and judged on."""
    from models.transform import ArtifactError, Transform
    from pipelines.commands import tune_trial
    from pipelines.commands.tune_trial import Case
    from pipelines.stages import train_examples

    transform_id = _transform_of(run)
    with (
        train_examples.at_hand(run, transform_id) as examples,
        folders.at_hand(run.lake.transform(transform_id)) as folder,
    ):
        try:
            transform = Transform(folder)
        except ArtifactError as error:
            raise ArtifactMismatch(
                f"{error} Have it fitted again: latentlake night {run.lake.dataset} "
                f"--retrain always --lake {run.lake.root}"
            ) from error
        whole = examples["train"]
        if len(whole) < LEAST:
            raise ConfigError(
                f"{run.lake.dataset}: has {len(whole)} training examples, and {LEAST} "
                "are the fewest that settings can be told apart by. Add images."
            )
        train, judged = tune_trial.split(whole, wish.images, run.settings.train.seed)
        figure = tune_trial.figure_of(run.settings, train, judged)
        yield Case(run.settings, transform, train, judged, figure)


def _transform_of(run: Run) -> str:
    found = run.manifest("transform")
    assert found is not None  # this run was chosen for it
    return str(found["wrote"]["transform_id"])


def _study_folder(run: Run, case: "Case", wish: Wish, out: str) -> str:
    """Return where the study is kept: one for each question that can be asked."""
    key = config.digest_of(
        {
            "transform": case.transform.transform_id,
            "encoder": run.settings.encoder.model_dump(mode="json"),
            "train": run.settings.train.model_dump(mode="json"),
            "examples": [len(case.train), len(case.judged)],
            "figure": case.figure,
        }
    )
    if wish.work is None and store.is_local(run.lake.root):
        return run.lake.tuning(key)
    folder = os.path.join(os.path.abspath(wish.work or f"{out}/study"), key)
    Console(soft_wrap=True, highlight=False).print(
        f"The study is kept in {folder}: the next call on this machine goes on with it."
    )
    return folder


def _answer(run: Run, case: "Case", study: "Study", places: tuple[str, str]) -> None:
    """Write the best trial's settings and the picture; show the best trials."""
    from pipelines.commands import tune_space, tune_study
    from pipelines.pages import search

    folder, out = places
    best = tune_study.complete(study)
    if not best:
        raise ConfigError(
            f"{run.lake.dataset}: every trial went astray, so there is nothing to "
            "choose from. Lower train.learning_rate in the dataset's settings."
        )
    own = tune_space.own(case.settings)
    lines = _comments(run, case, study, folder)
    choice = best[0].user_attrs["choice"]
    text = "".join(f"# {line}\n" for line in lines)
    text += "\n" + tune_space.fragment(case.settings, choice)
    store.write_bytes(os.path.join(out, FRAGMENT), text.encode())
    title, unit = TITLES[case.figure]
    trials = [
        search.Tried(trial.number + 1, trial.value, trial.user_attrs["choice"])
        for trial in tune_study.finished(study)
    ]
    words = f"{run.lake.dataset}: {len(trials)} trials for {title}"
    picture = search.draw(words, f"{title}, {unit}", trials)
    store.write_bytes(os.path.join(out, PICTURE), picture)
    console = Console(soft_wrap=True, highlight=False)
    console.print(_grid(case, best, own))
    for line in lines[2:]:
        console.print(line)
    console.print(
        f"[bold]{os.path.join(out, FRAGMENT)}[/]: put its sections in the dataset's "
        f"settings in place of its own. The search: {os.path.join(out, PICTURE)}"
    )


def _comments(run: Run, case: "Case", study: "Study", folder: str) -> list[str]:
    """Return what is to be known of the answer, a line each."""
    from models import metrics
    from pipelines.commands import tune_space, tune_study

    title, unit = TITLES[case.figure]
    best, *_ = tune_study.complete(study)
    count = len(tune_study.finished(study))
    lines = [
        f"Found by latentlake tune {run.lake.dataset}, in {count} trials on the "
        f"training examples of run {run.run_id}:",
        f"{len(case.train):,} to learn from, {len(case.judged):,} to judge on. These "
        "sections replace those of the dataset's settings.",
        f"{title[0].upper()}{title[1:]}: {best.value:.2f} {unit}.",
    ]
    own = tune_space.own(case.settings)
    base = [one for one in study.trials if one.user_attrs.get("choice") == own]
    base = [one for one in base if one.value is not None]
    if base and base[0].number != best.number:
        gain = tune_study.scores(folder, best) - tune_study.scores(folder, base[0])
        low, high = metrics.bootstrap_interval(gain)
        lines.append(
            f"The dataset's own settings: {base[0].value:.2f} {unit}. Gain "
            f"{gain.mean():+.2f} ({low:+.2f} to {high:+.2f}, 95 %)."
        )
        lines.append(
            "The best of many is partly luck: the gate judges it on images that no "
            "trial saw."
        )
    elif base:
        lines.append("That is with the dataset's own settings: nothing was better.")
    return lines


def _grid(case: "Case", best: list[Any], own: dict[str, Any]) -> Table:
    from pipelines.commands import tune_space

    title, unit = TITLES[case.figure]
    grid = Table("trial", f"{title}, {unit}", "PSNR, dB", "seconds", "what it changed")
    for trial in best[:SHOWN]:
        grid.add_row(
            str(trial.number + 1),
            f"{trial.value:.2f}",
            f"{trial.user_attrs['figures']['psnr']:.2f}",
            f"{trial.user_attrs['seconds']:.1f}",
            tune_space.said(trial.user_attrs["choice"], own),
            style="bold" if trial is best[0] else "",
        )
    return grid
