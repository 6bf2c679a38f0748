"""
# A night of images

Takes what is **new, changed or gone** in the dataset's source since the last published
night, and turns it into rows of the feature table: ingest → transform → train →
evaluate → encode → publish → report.

## What wakes it

Its calendar (`schedule` in the dataset's file), or you: *Trigger* opens a form; every
field may stay as it is.

## Pink, a skipped task, is fine

*transform*, *train* and *evaluate* are skipped on nights on which no training is due;
*encode* and *publish* where nothing changed. Readers keep the last published snapshot
until the moment they see the next one whole.

## Yellow, up for retry, is an accident

A lost worker, a full disk, a network. It is tried again by itself, and what was
finished before stands.

## Red

The task's log ends with one sentence that says what was found and what to do. The
report was made all the same, and nothing half-done is visible to readers.

- **ingest, exit 2**: the dataset's file or the form is wrong. Mend the key that is
  named, trigger anew.
- **ingest, exit 4, a bad night**: too many rejections, an empty source, a tenfold jump.
  Look at the source and at the report; raise a limit under `limits` only if the night
  is right.
- **transform**: the statistics could not be fitted; usually disk or memory.
- **train**: the loss was not finite (lower `train.learning_rate`), or its worker died:
  clear it, and it goes on from the last epoch.
- **evaluate, exit 3**: the first candidate did not beat PCA of its size. Read the
  gate's figures in the report; change `encoder` or `train`.
- **encode, exit 5**: an encoder is not what its card says. Restore it, or trigger with
  *Train anew: yes*.
- **publish, exit 2, held**: someone rolled the tables back. `latentlake release
  DATASET`, then clear *publish*.
- **publish, exit 4**: a check on the audit branch failed. The report names it; *main*
  was not moved.
- **report alone**: the page could not be made. The night *is* published; clear
  *report*.

## Kept

A candidate that does not pass while an accepted encoder stands is kept out, and the
night goes on with the accepted one: *evaluate* is green, and the report says so loudly.

## Again

To do a whole night again, trigger it with the same *Night*: finished work is found by
its content and not done twice.
"""

from datetime import timedelta

from airflow.sdk import DAG, CronTriggerTimetable, TriggerRule, chain
from latentlake_airflow import assets, broken, forms, settings
from latentlake_airflow.operator import StageOperator

LIMITS = {
    "ingest": timedelta(hours=12),
    "transform": timedelta(hours=6),
    "train": timedelta(hours=24),
    "evaluate": timedelta(hours=2),
    "encode": timedelta(hours=12),
    "publish": timedelta(hours=1),
    "report": timedelta(minutes=30),
}
"""After so long a stage hangs rather than works."""


def nightly(dataset: settings.Dataset) -> DAG:
    """Return the DAG of ``dataset``: every stage in order, the report in any case."""
    # No start date: unpausing waits for the next night, and runs none that is past.
    own = {
        "train": settings.train_place(),
        "evaluate": {"retries": 0},  # a refusal is an answer, not an accident
        "publish": {"outlets": [assets.features_of(dataset.name)]},
    }
    with DAG(
        dag_id=f"nightly_{dataset.name}",
        description=f"A night of {dataset.source}, to its feature table",
        doc_md=__doc__,
        schedule=dataset.cron
        and CronTriggerTimetable(dataset.cron, timezone=dataset.timezone),
        catchup=False,
        max_active_runs=1,
        tags=["latentlake", dataset.name],
        params=forms.night_form(dataset.source),
        default_args={
            "owner": "latentlake",
            "retries": settings.retries(),
            "retry_delay": settings.retry_delay(),
            "retry_exponential_backoff": 2,
            "max_retry_delay": timedelta(minutes=30),
            # Each stage says itself whether it is due; a skip stops nobody.
            "trigger_rule": TriggerRule.NONE_FAILED,
        },
    ) as dag:
        stages = [
            StageOperator(
                stage=stage,
                dataset=dataset,
                execution_timeout=limit,
                **own.get(stage, {}),
            )
            for stage, limit in LIMITS.items()
        ]
        stages[-1].as_teardown()  # made after a failure, too, and never hides one
        chain(*stages)
    return dag


for dataset in settings.read_all():
    make = broken.notice if dataset.problem else nightly
    globals()[f"nightly_{dataset.name}"] = make(dataset)
