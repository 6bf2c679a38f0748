"""Classify: train and score a classifier on the published feature table."""

import logging
from typing import Any

import pyarrow.compute as pc

from pipelines.lake import store, tables
from pipelines.lake.run import Run
from pipelines.records import StageResult

FORMAT_VERSION = 1
MODEL = "model.skops"
PICTURE = "confusion.png"
CARD = "metrics.json"
"""Written last: where it stands, the other two do."""

log = logging.getLogger(__name__)


def run(run: Run, beam_flags: list[str]) -> StageResult:
    """Train on the table's train split, score on its eval split, keep both."""
    snapshot = tables.main_ids(run.lake).features
    folder = run.lake.own("classifiers", str(snapshot))
    if store.exists(f"{folder}/{CARD}"):
        note = f"Snapshot {snapshot} was classified before."
        return _result(store.read_json(f"{folder}/{CARD}"), folder, note)
    lacking = _lacking(run, snapshot)
    if lacking:
        return StageResult(skipped=True, note=lacking)
    log.info("classify: training on snapshot %s", snapshot)
    from pipelines.stages import classifying

    said = tables.snapshot_properties(run.lake, "features", snapshot)
    learned = classifying.learn(tables.read_features(run.lake, snapshot, COLUMNS))
    card = learned.card | {
        "format_version": FORMAT_VERSION,
        "snapshot_id": snapshot,
        "space_id": said.get("latentlake.space_id"),
        "run_id": run.run_id,
    }
    store.write_bytes(f"{folder}/{MODEL}", learned.model)
    store.write_bytes(f"{folder}/{PICTURE}", learned.picture)
    store.write_json(f"{folder}/{CARD}", card)
    note = (
        f"{card['accuracy']:.1%} of {card['held_out']:,} held-out images are named "
        f"rightly, of {len(card['classes'])} labels; macro F1 {card['macro_f1']:.3f}."
    )
    log.info("classify: %s", note)
    return _result(card, folder, note)


COLUMNS = ("label", "split", "latent")


def _lacking(run: Run, snapshot: int | None) -> str:
    """Return what a classifier cannot be trained for; empty where it can."""
    rows = tables.read_features(run.lake, snapshot, ("label", "split"))
    labels: dict[str, set[str]] = {"train": set(), "eval": set()}
    for split, found in labels.items():
        inside = rows.filter(pc.equal(rows["split"], split))
        found.update(set(inside["label"].to_pylist()) - {None})
    if rows.num_rows == 0:
        return "The feature table holds no rows yet: nothing to learn from."
    if len(labels["train"]) < 2:
        return (
            "Fewer than two labels stand in the table's train split: nothing to "
            "classify. Give labels (a folder for each, or a label column)."
        )
    if not labels["eval"]:
        return "No image of the eval split has a label: nothing to score on."
    return ""


def _result(card: dict[str, Any], folder: str, note: str) -> StageResult:
    return StageResult(
        counts={"train": card["train"], "held_out": card["held_out"]},
        figures={key: card[key] for key in ("accuracy", "macro_f1")},
        read={"features": card["snapshot_id"], "space_id": card["space_id"]},
        wrote={
            "model": f"{folder}/{MODEL}",
            "confusion": f"{folder}/{PICTURE}",
            "metrics": f"{folder}/{CARD}",
        },
        note=note,
    )
