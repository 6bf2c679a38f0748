"""A run: one execution for a dataset and a night, pinned by its first stage."""

import dataclasses
from typing import Any, Literal

from pipelines import config
from pipelines.config import Settings
from pipelines.errors import ConfigError
from pipelines.lake import manifest, store
from pipelines.lake.layout import Lake

FORMAT_VERSION = 1
RetrainNow = Literal["auto", "always", "never"]
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


def next_id(lake: Lake, night: str) -> str:
    """Return the id of the night's unfinished run, else a new one."""
    earlier = of_night(lake, night)
    if earlier and not is_over(lake, earlier[-1]):
        return earlier[-1]
    number = int(earlier[-1].rpartition("-")[2]) + 1 if earlier else 1
    return f"{night}-{number}"


def last_id(lake: Lake) -> str:
    """Return the id of the latest run, by night and number.

    Raises:
        ConfigError: The dataset has no run in this lake.
    """
    found = [name for name in store.names(lake.runs) if name[:4].isdecimal()]
    if not found:
        raise ConfigError(
            f"{lake.runs}: the dataset {lake.dataset!r} has no run in this lake. "
            f"Start with: latentlake night {lake.dataset} --lake {lake.root}"
        )
    return max(found, key=_night_and_number)


def _night_and_number(run_id: str) -> tuple[str, int, str]:
    number = run_id[11:]
    return run_id[:10], int(number) if number.isdecimal() else 0, number
