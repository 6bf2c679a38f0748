"""
# A classifier on the feature table

Trains a logistic regression on the table's `train` rows and scores it on its `eval`
rows: what the features are worth to someone who uses them.

## What wakes it

Each publish of the dataset's feature table; or you, by *Trigger*. Without a *Run* it
looks at the latest night.

## Pink, skipped

The table has no labels, or too few to learn from.

## Red

Its log ends with one sentence that says what was found and what to do. This DAG does
not touch the table, so nothing that readers see is at stake.
"""

from datetime import timedelta

from airflow.sdk import DAG, Param
from latentlake_airflow import assets, settings
from latentlake_airflow.follow import FollowOperator


def classify(dataset: settings.Dataset) -> DAG:
    """Return the DAG that classifies the published features of ``dataset``."""
    with DAG(
        dag_id=f"classify_{dataset.name}",
        description=f"Score a classifier on the features of {dataset.name}",
        doc_md=__doc__,
        schedule=[assets.features_of(dataset.name)],
        catchup=False,
        max_active_runs=1,
        tags=["latentlake", dataset.name],
        params={
            "run_id": Param(
                None,
                type=["null", "string"],
                pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9a-z]+$",
                title="Run",
                description="A run of the lake, like 2026-01-31-5f0c1a2b. "
                "Empty: the one that was just published, else the latest.",
            )
        },
        default_args={
            "owner": "latentlake",
            "retries": settings.retries(),
            "retry_delay": settings.retry_delay(),
            "retry_exponential_backoff": 2,
            "max_retry_delay": timedelta(minutes=30),
        },
    ) as dag:
        FollowOperator(
            stage="classify", dataset=dataset, execution_timeout=timedelta(hours=2)
        )
    return dag


for dataset in settings.read_all():
    if not dataset.problem:
        globals()[f"classify_{dataset.name}"] = classify(dataset)
