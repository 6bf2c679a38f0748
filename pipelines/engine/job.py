"""What a stage says of a Beam job that it sends."""

import functools
import hashlib
from collections.abc import Callable, Collection
from typing import NamedTuple

from pipelines.config import EngineSettings
from pipelines.engine import watch
from pipelines.lake.run import Run


class Job(NamedTuple):
    """A Beam job, before it is sent.

    Attributes:
        settings: Where and how it runs.
        flags: Flags of Beam; they win over the settings.
        name: What it is called on a cluster: the same for each attempt of a stage.
        folder: Folder of the lake that its workers answer in, but for the tail of its
            name.
        progress: Tells how much of its work is done, at the cost of listing folders.
    """

    settings: EngineSettings
    flags: list[str]
    name: str = "latentlake"
    folder: str = ""
    progress: Callable[[], int] | None = None

    def part(self, name: str) -> "Job":
        """Return a job of the same stage, for one of its parts."""
        return self._replace(name=f"{self.name}/{name}")

    def making(self, files: Collection[str]) -> "Job":
        """Return the job, its progress told by which of its ``files`` stand."""
        return self._replace(progress=functools.partial(watch.estimate, files))


def of(run: Run, stage: str, flags: list[str]) -> Job:
    """Return the job of ``stage``; two lakes may have runs of the same id."""
    lake = hashlib.sha256(run.lake.root.encode()).hexdigest()[:8]
    name = f"latentlake {run.lake.dataset} {run.run_id} {stage} {lake}"
    return Job(run.settings.engine, flags, name, run.path("workers"))


def is_of(name: str, stage: str) -> bool:
    """Return whether the job called ``name`` is that of ``stage``, or a part of it."""
    return name == stage or name.startswith(f"{stage}/")
