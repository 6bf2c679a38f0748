"""A run: one execution for a dataset and a night, pinned by its first stage."""

import dataclasses
import datetime
import re
from typing import Any, Literal

from pipelines import config
from pipelines.config import Settings
from pipelines.errors import ConfigError
from pipelines.lake import manifest, store
from pipelines.lake.layout import Lake

FORMAT_VERSION = 1
RetrainNow = Literal["auto", "always", "never"]
RUN_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}\Z")
FINAL_CODES = (2, 3, 4, 5)
"""Exit codes after which a run is over: the next one lists the source anew."""


@dataclasses.dataclass(frozen=True)
class Run:
    """What every stage of a run is given.

    Attributes:
        lake: The places of the dataset.
        run_id: The run's name; stays the same over retries.
        night: The date the run stands for, ``YYYY-MM-DD``.
        settings: The dataset's settings, as pinned.
        retrain: Whether to train: by the calendar, in any case, or not.
        dry_run: Only say what would be done.
        images_base: Snapshot of the image table's ``main`` at the start.
        features_base: Snapshot of the feature table's ``main`` at the start.
    """

    lake: Lake
    run_id: str
    night: str
    settings: Settings
    retrain: RetrainNow = "auto"
    dry_run: bool = False
    images_base: int | None = None
    features_base: int | None = None

    @property
    def date(self) -> datetime.date:
        """The night as the tables hold it."""
        return datetime.date.fromisoformat(self.night)

    @property
    def image_spec_id(self) -> str:
        """The digest of the settings that make an image canonical."""
        return config.image_spec_id(self.settings.image)

    def manifest(self, stage: str) -> dict[str, Any] | None:
        """Return the manifest of ``stage`` in this run, or ``None``."""
        return manifest.read(self.lake, self.run_id, stage)

    def path(self, *parts: str) -> str:
        """Return a place of this run."""
        return self.lake.run(self.run_id, *parts)


def pin(run: Run) -> None:
    """Write ``run.json``: what the run holds to, whatever happens meanwhile."""
    store.write_json(
        run.path("run.json"),
        {
            "format_version": FORMAT_VERSION,
            "dataset": run.lake.dataset,
            "run_id": run.run_id,
            "night": run.night,
            "settings": run.settings.model_dump(mode="json"),
            "image_spec_id": run.image_spec_id,
            "retrain": run.retrain,
            "dry_run": run.dry_run,
            "base": {"images": run.images_base, "features": run.features_base},
        },
    )


def pinned(lake: Lake, run_id: str) -> Run | None:
    """Return the run as its first stage pinned it, or ``None``."""
    path = lake.run(run_id, "run.json")
    if not store.exists(path):
        return None
    value = store.read_json(path)
    manifest.check_version(value, path, FORMAT_VERSION)
    return Run(
        lake=lake,
        run_id=run_id,
        night=value["night"],
        settings=config.parse(value["settings"], origin=path),
        retrain=value["retrain"],
        dry_run=value["dry_run"],
        images_base=value["base"]["images"],
        features_base=value["base"]["features"],
    )


def check_id(run_id: str) -> str:
    """Return ``run_id`` if it may name a run, else raise :class:`ConfigError`."""
    if not RUN_ID.match(run_id):
        raise ConfigError(
            f"run id {run_id!r}: a run is named by letters, digits, '-', '_' and '.', "
            "as in 2026-01-31-1."
        )
    return run_id


def of_night(lake: Lake, night: str) -> list[str]:
    """Return the numbered runs of ``night``, oldest first."""
    numbered = []
    for name in store.names(lake.runs):
        stem, _, number = name.rpartition("-")
        if stem == night and number.isdecimal():
            numbered.append((int(number), name))
    return [name for _, name in sorted(numbered)]


def is_over(lake: Lake, run_id: str) -> bool:
    """Return whether nothing of the run is left to do or to try again."""
    last = manifest.read(lake, run_id, "publish")
    if last and last["status"] != manifest.FAILED:
        return True
    for stage in ("ingest", "transform", "train", "evaluate", "encode", "publish"):
        found = manifest.read(lake, run_id, stage)
        if found and found["exit_code"] in FINAL_CODES:
            return True
    return False


def next_id(run: Run) -> str:
    """Return the id of the night's unfinished run if it asks the same, else a new one.

    ``run`` is what is asked for; its own id does not count.
    """
    earlier = of_night(run.lake, run.night)
    if not earlier:
        return f"{run.night}-1"
    last = earlier[-1]
    if not is_over(run.lake, last) and _asks_the_same(run, pinned(run.lake, last)):
        return last
    return f"{run.night}-{int(last.rpartition('-')[2]) + 1}"


def _asks_the_same(run: Run, earlier: Run | None) -> bool:
    def wish(one: Run) -> tuple[Settings, str, bool]:
        return one.settings, one.retrain, one.dry_run

    return earlier is None or wish(run) == wish(earlier)


def last_id(lake: Lake) -> str:
    """Return the id of the latest run, by night and number.

    Raises:
        ConfigError: The dataset has no run in this lake.
    """
    found = ids(lake)
    if not found:
        raise ConfigError(
            f"{lake.runs}: the dataset {lake.dataset!r} has no run in this lake. "
            f"Start with: latentlake night {lake.dataset} --lake {lake.root}"
        )
    return found[-1]


def ids(lake: Lake) -> list[str]:
    """Return the ids of all runs, by night and number."""
    found = [name for name in store.names(lake.runs) if name[:4].isdecimal()]
    return sorted(found, key=_night_and_number)


def _night_and_number(run_id: str) -> tuple[str, int, str]:
    number = run_id[11:]
    return run_id[:10], int(number) if number.isdecimal() else 0, number
