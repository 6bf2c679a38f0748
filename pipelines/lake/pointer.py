"""The pointer to the accepted encoder: ``accepted.json``, replaced whole.

It is read, changed and replaced under the dataset's lease: no move of it is lost.
"""

import dataclasses
from typing import Any

from pipelines.errors import ArtifactMismatch
from pipelines.lake import lease, manifest, store
from pipelines.lake.layout import Lake
from pipelines.lake.run import Run

FORMAT_VERSION = 1


@dataclasses.dataclass(frozen=True)
class Accepted:
    """The accepted encoder.

    Attributes:
        space_id: Its space; ``lake.encoder(space_id)`` holds it.
        run_id: The run that trained it.
        night: The night of that run.
        eval_error: Its mean reconstruction error on the held-out images of the gate.
        history: Every move of the pointer, oldest first; the last one is this.
        attempts: Every candidate judged: night, run_id, space_id, verdict.
    """

    space_id: str
    run_id: str
    night: str
    eval_error: float | None
    history: list[dict[str, Any]]
    attempts: list[dict[str, Any]]


def read(lake: Lake) -> Accepted | None:
    """Return the accepted encoder, or ``None`` where none ever was."""
    value = _value(lake)
    if not value["history"]:
        return None
    last = value["history"][-1]
    return Accepted(
        space_id=last["space_id"],
        run_id=last["run_id"],
        night=last["night"],
        eval_error=last["eval_error"],
        history=value["history"],
        attempts=value["attempts"],
    )


def attempts(lake: Lake) -> list[dict[str, Any]]:
    """Return every candidate judged so far, also where none was accepted."""
    return list(_value(lake)["attempts"])


def accept(
    lake: Lake, space_id: str, run: Run, *, eval_error: float | None = None
) -> None:
    """Point to ``space_id``, which ``run`` trained; a second time changes nothing."""
    move = {
        "space_id": space_id,
        "run_id": run.run_id,
        "night": run.night,
        "eval_error": eval_error,
    }
    with lease.hold(lake, run.run_id):
        value = _value(lake)
        if not value["history"] or value["history"][-1] != move:
            value["history"].append(move)
            _write(lake, value)


def note_attempt(lake: Lake, run: Run, space_id: str, verdict: str) -> None:
    """Keep what the gate said of a candidate; a retry of the run replaces it."""
    attempt = {
        "night": run.night,
        "run_id": run.run_id,
        "space_id": space_id,
        "verdict": verdict,
    }
    with lease.hold(lake, run.run_id):
        value = _value(lake)
        others = [one for one in value["attempts"] if one["run_id"] != run.run_id]
        if [*others, attempt] != value["attempts"]:
            _write(lake, value | {"attempts": [*others, attempt]})


def step_back(lake: Lake, space_id: str) -> None:
    """Point to ``space_id`` again, an encoder that was accepted before.

    Raises:
        ArtifactMismatch: It never was.
    """
    with lease.hold(lake, f"a step back to {space_id}"):
        value = _value(lake)
        for move in reversed(value["history"]):
            if move["space_id"] == space_id:
                if move["space_id"] != value["history"][-1]["space_id"]:
                    value["history"].append(move | {"stepped_back": True})
                    _write(lake, value)
                return
    raise ArtifactMismatch(
        f"{lake.accepted}: the space {space_id} was never accepted, so the pointer "
        "cannot step back to it. Restore the file from a backup, or roll back to a "
        "snapshot of a space that it names."
    )


def _value(lake: Lake) -> dict[str, Any]:
    if not store.exists(lake.accepted):
        return {"history": [], "attempts": []}
    value: dict[str, Any] = store.read_json(lake.accepted)
    manifest.check_version(value, lake.accepted, FORMAT_VERSION)
    return {"history": value["history"], "attempts": value["attempts"]}


def _write(lake: Lake, value: dict[str, Any]) -> None:
    current = value["history"][-1] if value["history"] else {"space_id": None}
    whole = {"format_version": FORMAT_VERSION, "accepted": current["space_id"]}
    store.write_json(lake.accepted, whole | value)
