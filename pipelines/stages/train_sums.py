"""Who adds up the statistics of a training: this process, or the dataset's engine."""

import importlib.util
import logging
from typing import TYPE_CHECKING

from pipelines.lake import store
from pipelines.lake.run import Run
from pipelines.stages import train_examples

if TYPE_CHECKING:
    from models.data import Examples
    from models.sums import Statistic, Summed, Terms

log = logging.getLogger(__name__)


def chosen(
    run: Run, transform_id: str, examples: "dict[str, Examples]", flags: list[str]
) -> "Summed":
    """Return how statistics are added up for the dataset's preset.

    Args:
        run: The run, with its engine's settings.
        transform_id: Which examples of the run.
        examples: The same on this machine, by split.
        flags: Flags of Beam.
    """
    from models import sums

    if not run.settings.encoder.CLOSED_FORM:
        return sums.over_examples
    listed = train_examples.listed(run, transform_id)
    far = not store.is_local(run.lake.root)
    if importlib.util.find_spec("apache_beam") is None or (far and listed is None):
        log.info("train: sums are added up in this process: there is no Beam for them")
        return sums.over_examples
    from pipelines.engine import job
    from pipelines.engine import sums as engine

    places = {
        here: there
        for split, files in (listed or {}).items()
        for here, there in zip(examples[split].paths, files, strict=True)
        if far
    }
    log.info("train: sums over all images are added up by Beam")
    everywhere = engine.over_files(job.of(run, "train", flags), places)

    def summed(
        statistic: "Statistic", examples: "Examples", most: int | None
    ) -> "Terms":
        # A sample is added up here in the time that a job takes to begin.
        way = everywhere if most is None else sums.over_examples
        return way(statistic, examples, most)

    return summed
