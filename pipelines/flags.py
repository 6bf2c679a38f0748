"""The flags of a stage: what a person gave → the run that is meant.

Made by tyro from the typed classes in ``config``: each setting is a flag by itself,
with the dataset's own value (or the one its run is pinned to) as the default.
"""

import dataclasses
import datetime
import os
import pathlib
import zoneinfo
from typing import Annotated

import tyro

from pipelines import config
from pipelines.errors import ConfigError
from pipelines.lake import layout
from pipelines.lake import run as runs
from pipelines.lake.run import RetrainNow, Run

FIRST = ("ingest", "night")
"""The commands that begin a run; the others go on with one."""
DEFAULT_LAKE = "./lake"


@dataclasses.dataclass(frozen=True, kw_only=True)
class StageFlags:
    """What every stage is told, besides the settings of its dataset."""

    dataset: tyro.conf.Positional[str]
    """Name of a dataset, or path of its TOML file."""
    lake: str
    """Root of everything this project writes: a folder or a bucket."""
    settings: Annotated[config.Settings, tyro.conf.arg(name="")]
    run_id: str | None = None
    """The run to go on with; by default the night's unfinished one, else a new one."""
    night: str | None = None
    """The date the run stands for, YYYY-MM-DD; by default today."""
    retrain: RetrainNow = "auto"
    """Whether to train: by the calendar, in any case, or not."""
    dry_run: bool = False
    """Only say what would be done."""
    again: bool = False
    """Do the stage even if it is done."""


def parse(stage: str, description: str, argv: list[str]) -> tuple[Run, bool]:
    """Return the run that ``argv`` asks for, and whether to do the stage again."""
    dataset = argv[0] if argv and not argv[0].startswith("-") else None
    if dataset is None and not {"-h", "--help"} & set(argv):
        raise ConfigError(
            f"which dataset? usage: latentlake {stage} DATASET [flags]; "
            f"latentlake {stage} --help lists the flags."
        )
    flags = tyro.cli(
        StageFlags,
        prog=f"latentlake {stage}",
        description=description.capitalize() + ".",
        default=_defaults(stage, dataset, argv),
        args=argv,
        config=(tyro.conf.AvoidSubcommands,),  # the preset is chosen: see _defaults
    )
    return _run(stage, flags), flags.again


def _run(stage: str, flags: StageFlags) -> Run:
    lake = _lake(flags.lake, flags.dataset)
    if stage not in FIRST:
        return dataclasses.replace(
            _pinned(lake, flags.run_id or runs.last_id(lake)),
            settings=flags.settings,
            retrain=flags.retrain,
            dry_run=flags.dry_run,
        )
    night = _night(flags.night, flags.settings.schedule.timezone)
    fresh = Run(
        lake=lake,
        run_id=flags.run_id or "",
        night=night,
        settings=flags.settings,
        retrain=flags.retrain,
        dry_run=flags.dry_run,
    )
    run_id = flags.run_id or runs.next_id(fresh)
    return dataclasses.replace(fresh, run_id=runs.check_id(run_id))


def _defaults(stage: str, dataset: str | None, argv: list[str]) -> StageFlags:
    """Return the flags' defaults: from the run's pin, else from the TOML file.

    ``--encoder.preset`` is heard here: it decides which other flags there are.
    """
    found = _standing(stage, dataset, argv)
    preset = _given(argv, "--encoder.preset")
    if preset in (None, found.settings.encoder.preset):
        return found
    values = found.settings.model_dump(mode="json")
    del values["train"]
    values["encoder"] = {"preset": preset}
    settings = config.parse(values, origin="these flags")
    return dataclasses.replace(found, settings=settings)


def _standing(stage: str, dataset: str | None, argv: list[str]) -> StageFlags:
    """Return what stands in the run's pin, else in the TOML file."""
    root = _given(argv, "--lake") or os.environ.get("LATENTLAKE_LAKE", DEFAULT_LAKE)
    if dataset is None:
        source = config.SourceSettings(path="FOLDER")
        return StageFlags(
            dataset="DATASET", lake=root, settings=config.Settings(source=source)
        )
    lake = _lake(root, dataset)
    run_id = _given(argv, "--run-id")
    if stage in FIRST and (run_id is None or runs.pinned(lake, run_id) is None):
        settings = config.load(config.find(dataset))
        return StageFlags(dataset=dataset, lake=root, settings=settings)
    run = _pinned(lake, run_id or runs.last_id(lake))
    return StageFlags(
        dataset=dataset,
        lake=root,
        settings=run.settings,
        run_id=run.run_id,
        night=run.night,
        retrain=run.retrain,
        dry_run=run.dry_run,
    )


def _lake(root: str, dataset: str) -> layout.Lake:
    name = config.check_name(pathlib.PurePath(dataset).stem)
    return layout.Lake(layout.absolute(root), name)


def _pinned(lake: layout.Lake, run_id: str) -> Run:
    run = runs.pinned(lake, run_id)
    if run is None:
        raise ConfigError(
            f"{lake.run(run_id)}: there is no such run. A run begins with: "
            f"latentlake ingest {lake.dataset} --lake {lake.root} --run-id {run_id}"
        )
    return run


def _given(argv: list[str], name: str) -> str | None:
    for at, word in enumerate(argv):
        word = word.replace("_", "-") if word.startswith("--run_id") else word
        if word == name and at + 1 < len(argv):
            return argv[at + 1]
        if word.startswith(f"{name}="):
            return word.partition("=")[2]
    return None


def _night(given: str | None, timezone: str) -> str:
    if given is None:
        return datetime.datetime.now(zoneinfo.ZoneInfo(timezone)).date().isoformat()
    try:
        return datetime.date.fromisoformat(given).isoformat()
    except ValueError as error:
        raise ConfigError(
            f"--night {given!r}: a night is a date, YYYY-MM-DD."
        ) from error
