"""Evaluate: judge the candidate on held-out images; accept, keep or refuse it."""

import logging
from typing import Any

from pipelines.errors import GateRefused
from pipelines.lake import store
from pipelines.lake.run import Run
from pipelines.records import StageResult

FORMAT_VERSION = 1
NAME = "evaluation.json"
"""What was found, written before anything is moved, so that a rerun finds it."""

log = logging.getLogger(__name__)


def run(run: Run, beam_flags: list[str]) -> StageResult:
    """Judge tonight's candidate; move the pointer to it as the last act, if it passes.

    Raises:
        GateRefused: The candidate did not pass, and no accepted encoder can serve.
    """
    train = run.manifest("train")
    if train is None or train["status"] != "done":
        return StageResult(skipped=True, note="No encoder was trained tonight.")
    space_id = train["wrote"]["space_id"]
    found = _found_before(run, space_id)
    if found is None:
        log.info("evaluate: judging candidate %s", space_id)
        from models import device

        device.choose_backend()  # before Keras is imported
        from pipelines.stages import judging

        found = _described(run, space_id) | judging.judge(run, space_id)
        store.write_json(run.path(NAME), found)
    _move(run, found)
    log.info("evaluate: %s", found["figures"]["verdict"])
    return _result(run, found)


def _found_before(run: Run, space_id: str) -> dict[str, Any] | None:
    """Return what this run found before, so that it is never judged by itself."""
    path = run.path(NAME)
    if not store.exists(path):
        return None
    found: dict[str, Any] = store.read_json(path)
    asked = _described(run, space_id)
    return found if {key: found.get(key) for key in asked} == asked else None


def _described(run: Run, space_id: str) -> dict[str, Any]:
    return {
        "format_version": FORMAT_VERSION,
        "space_id": space_id,
        "gate": run.settings.gate.model_dump(mode="json"),
    }


def _move(run: Run, found: dict[str, Any]) -> None:
    """Move the pointer to the candidate, or note that it was tried.

    Raises:
        GateRefused: It was refused.
    """
    from pipelines.lake import pointer

    space_id, figures = found["space_id"], found["figures"]
    pointer.note_attempt(run.lake, run, space_id, figures["verdict"])
    if figures["verdict"] == "refused":
        raise GateRefused(_refusal(run, space_id, figures["reasons"]))
    if figures["verdict"] == "accepted" and not _moved_before(run, space_id):
        error = figures["candidate"]["error"]
        pointer.accept(run.lake, space_id, run, eval_error=error)


def _moved_before(run: Run, space_id: str) -> bool:
    """Return whether this run has moved the pointer: later moves are not undone."""
    from pipelines.lake import pointer

    accepted = pointer.read(run.lake)
    mine = (run.run_id, space_id)
    moves = accepted.history if accepted else []
    return any((move["run_id"], move["space_id"]) == mine for move in moves)


def _refusal(run: Run, space_id: str, reasons: list[str]) -> str:
    listed = "\n".join(f"  - {reason}" for reason in reasons)
    return (
        f"dataset {run.lake.dataset!r}, night {run.night}: the candidate {space_id} "
        "did not pass the gate, and there is no accepted encoder to go on with, so "
        f"nothing will be published.\n{listed}\nWhat to do: look at the report; then "
        "give it more images, train it longer ([train] epochs), choose another "
        "[encoder], or, on purpose, other limits in [gate]; and run the night again."
    )


def _result(run: Run, found: dict[str, Any]) -> StageResult:
    figures, before = found["figures"], found["accepted_before"]
    wrote = {"evaluation": run.path(NAME)}
    accepted = figures["verdict"] == "accepted"
    return StageResult(
        counts=found["counts"],
        figures=figures,
        read={"candidate": found["space_id"], "accepted": before},
        wrote=wrote | ({"accepted": found["space_id"]} if accepted else {}),
        note=_note(found),
    )


def _note(found: dict[str, Any]) -> str:
    figures, space_id = found["figures"], found["space_id"]
    if figures["verdict"] == "accepted":
        wanted = (figures["primary"], "pca")
        gain = [
            check["says"]
            for check in figures["checks"]
            if (check["name"], check["against"]) == wanted
        ]
        return f"Accepted: {space_id} is the encoder from now on. {gain[0]}"
    why = " ".join(figures["reasons"])
    return (
        f"KEPT: the candidate {space_id} did not pass the gate; the night goes on "
        f"with the accepted encoder {found['accepted_before']}. {why}"
    )
