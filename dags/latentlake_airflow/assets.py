"""The table that nights publish, as Airflow knows it."""

from airflow.sdk import Asset


def features_of(dataset: str) -> Asset:
    """Return the feature table of ``dataset``; name and URI never change."""
    return Asset(name=f"{dataset}_features", uri=f"latentlake://{dataset}/features")
