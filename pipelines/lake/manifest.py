"""Manifests: what each stage of a run read, wrote and counted."""

from typing import Any

from pipelines.errors import ArtifactMismatch
from pipelines.lake import store
from pipelines.lake.layout import Lake

FORMAT_VERSION = 1
DONE = "done"
SKIPPED = "skipped"
FAILED = "failed"


def read(lake: Lake, run_id: str, stage: str) -> dict[str, Any] | None:
    """Return the manifest that ``stage`` left in the run, or ``None``."""
    path = lake.manifest(run_id, stage)
    if not store.exists(path):
        return None
    value: dict[str, Any] = store.read_json(path)
    check_version(value, path, FORMAT_VERSION)
    return value


def write(lake: Lake, run_id: str, stage: str, value: dict[str, Any]) -> None:
    """Put the manifest of ``stage`` in place, whole."""
    path = lake.manifest(run_id, stage)
    store.write_json(path, {"format_version": FORMAT_VERSION, **value})


def check_version(value: dict[str, Any], path: str, known: int) -> None:
    """Raise :class:`ArtifactMismatch` where ``value`` is of a newer format."""
    found = value.get("format_version")
    if not isinstance(found, int) or found > known:
        raise ArtifactMismatch(
            f"{path}: is of format version {found}, and this latentlake reads up to "
            f"{known}. Install the version that wrote it, or a newer one."
        )
