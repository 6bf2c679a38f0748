"""Train: fit the encoder to the examples, and leave it as a candidate."""

import logging
import os
import tempfile
import time
from typing import TYPE_CHECKING, Any

from pipelines.errors import (
    ArtifactMismatch,
    BadNight,
    ConfigError,
    LatentlakeError,
)
from pipelines.lake import folders, manifest, store
from pipelines.lake.run import Run
from pipelines.records import StageResult
from pipelines.stages import train_examples, train_sums
from pipelines.stages.train_checkpoint import Kept

if TYPE_CHECKING:  # Keras is imported only where there is something to train
    from models.artifact import Artifact
    from models.data import Examples
    from models.sums import Summed
    from models.task import Candidate, Data

HEALTH_IMAGES = 10_000
"""Training images that the card's health is told from, at most."""
CANDIDATE = "candidate.json"

log = logging.getLogger(__name__)


def run(run: Run, beam_flags: list[str]) -> StageResult:
    """Fit a candidate where the transform was fitted tonight."""
    transform = run.manifest("transform")
    if transform is None or transform["status"] == manifest.FAILED:
        raise LatentlakeError(
            f"run {run.run_id}: its transform is not done. Run transform first."
        )
    if transform["status"] == manifest.SKIPPED:
        return StageResult(note=transform["note"], skipped=True)
    transform_id = transform["wrote"]["transform_id"]
    earlier = _standing(run, transform_id)
    if earlier is not None:
        log.info("train: the candidate %s stands", earlier.space_id)
        return _result(earlier.card)
    return _result(_train(run, transform_id, beam_flags))


def _train(run: Run, transform_id: str, beam_flags: list[str]) -> dict[str, Any]:
    """Fit a candidate and put it in the lake; return its card."""
    from models import device

    began = time.perf_counter()
    why = device.choose().why
    device.choose_backend()
    from models import training  # not before: this imports Keras
    from models.task import Data

    with (
        tempfile.TemporaryDirectory(prefix="latentlake-") as work,
        train_examples.at_hand(run, transform_id) as examples,
    ):
        train = examples["train"]
        _check_count(run, len(train))
        place = device.sentence()
        log.info("train: %d images, with %s (%s)", len(train), place, why)
        kept = Kept(run.path("train"), work, (training.HISTORY, training.CHECKPOINT))
        summed = train_sums.chosen(run, transform_id, examples, beam_flags)
        data = Data(examples["train"], examples["eval"], transform_id)
        found = _fit(run, data, summed, kept)
        facts = {
            "train_seconds": round(time.perf_counter() - began, 3),
            "trained_on": place,
        }
        card = _place(run, transform_id, found, train, facts)
    store.write_json(
        run.path("train", CANDIDATE),
        {"space_id": card["space_id"], "transform_id": transform_id},
    )
    kept.drop(training.CHECKPOINT)
    log.info(
        "train: candidate %s after %d epochs, the best was number %d",
        card["space_id"],
        card["epochs"],
        card["best_epoch"],
    )
    return card


def _check_count(run: Run, found: int) -> None:
    wanted = run.settings.train.min_images
    if found >= wanted:
        return
    words = (
        f"{run.lake.dataset}: {found} training images, and train.min_images asks for "
        f"{wanted}. Add images to {run.settings.source.path}, or lower train.min_images"
    )
    raise BadNight(f"{words}.") if not found else ConfigError(f"{words}.")


def _fit(run: Run, data: "Data", summed: "Summed", kept: Kept) -> "Candidate":
    """Fit, from the checkpoint of an earlier call if it left one."""
    from models import fit
    from models.task import Task
    from models.training import NonFiniteLoss
    from pipelines.stages.training_progress import progress

    settings = run.settings
    kept.take_up()
    try:
        with progress(settings.train.epochs, kept.put) as listener:
            found = fit.fit(
                Task(
                    encoder=settings.encoder,
                    train=settings.train,
                    data=data,
                    folder=kept.local,
                    progress=listener,
                    summed=summed,
                )
            )
    except NonFiniteLoss as error:
        raise ConfigError(
            f"{run.lake.dataset}: training went astray: {error}. "
            f"Lower train.learning_rate (it is {settings.train.learning_rate:g})."
        ) from error
    except ValueError as error:
        raise ArtifactMismatch(str(error)) from error
    kept.put(now=True)
    return found


def _place(
    run: Run,
    transform_id: str,
    found: "Candidate",
    train: "Examples",
    facts: dict[str, Any],
) -> dict[str, Any]:
    """Put the candidate in the lake, whole; return its card."""
    from models import artifact

    trained = found.trained
    card = {
        **_provenance(run),
        "health": _health(found, train),
        **facts,
        "epochs": len(trained.history),
        "best_epoch": trained.best_epoch,
        "resumed_at": trained.resumed_at,
        "train_images": len(train),
        "losses": trained.history[trained.best_epoch - 1],
        "learned_from": dict(found.learned_from),
    }
    with (
        tempfile.TemporaryDirectory(prefix="latentlake-") as work,
        folders.at_hand(run.lake.transform(transform_id)) as transform,
    ):
        made = os.path.join(work, "made")
        whole = artifact.save(made, found.encoder, found.decoder, transform, card)
        folder = run.lake.encoder(whole["space_id"])
        standing = _load(folder)
        if standing is not None:
            return standing.card
        store.delete(folder)
        folders.place(made, folder, artifact.CARD)
    return whole


def _provenance(run: Run) -> dict[str, Any]:
    from pipelines.stages.perform import versions

    settings = run.settings.model_dump(mode="json")
    return {
        "run_id": run.run_id,
        "night": run.night,
        "dataset": run.lake.dataset,
        "preset": run.settings.encoder.preset,
        "seed": run.settings.train.seed,
        "encoder": settings["encoder"],
        "train": settings["train"],
        "transform": settings["transform"],
        "versions": versions(),
    }


def _health(found: "Candidate", train: "Examples") -> dict[str, Any]:
    import numpy as np

    from models import artifact

    rows = train.order(0, 0)[:HEALTH_IMAGES]
    latents = [
        found.encoder.predict_on_batch(batch.images)
        for batch in train.batches(artifact.BATCH_SIZE, rows)
    ]
    return artifact.health(np.concatenate(latents))


def _standing(run: Run, transform_id: str) -> "Artifact | None":
    """Return the candidate that this run has trained already, if it is sound."""
    path = run.path("train", CANDIDATE)
    if not store.exists(path):
        return None
    said = store.read_json(path)
    if said["transform_id"] != transform_id:
        return None
    return _load(run.lake.encoder(said["space_id"]))


def _load(folder: str) -> "Artifact | None":
    """Return the encoder at ``folder``; ``None`` where it is missing or unsound."""
    from models import artifact

    if not store.exists(f"{folder}/{artifact.CARD}"):
        return None
    with folders.at_hand(folder) as local:
        try:
            return artifact.load(local)
        except artifact.ArtifactError as error:
            log.warning("train: %s It is trained again.", error)
            return None


def _result(card: dict[str, Any]) -> StageResult:
    losses = {name: card["losses"][name] for name in card["losses"] if "loss" in name}
    place = f", {card['trained_on']}" if "trained_on" in card else ""
    figures = {"seconds": card["train_seconds"], "health": card["health"], **losses}
    return StageResult(
        counts={
            "train": card["train_images"],
            "epochs": card["epochs"],
            "best_epoch": card["best_epoch"],
        },
        figures=figures,
        read={"transform_id": card["transform_id"]},
        wrote={"space_id": card["space_id"]},
        note=f"candidate {card['space_id']}, {card['epochs']} epochs{place}",
    )
