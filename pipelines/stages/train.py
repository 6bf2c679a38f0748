"""Train: fit the autoencoder to the examples, and leave it as a candidate."""

import contextlib
import logging
import os
import tempfile
import time
from collections.abc import Iterator
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

if TYPE_CHECKING:  # Keras is imported only where there is something to train
    from models.artifact import Artifact
    from models.data import Examples
    from models.fit import Candidate

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
    return _result(_train(run, transform_id))


def _train(run: Run, transform_id: str) -> dict[str, Any]:
    """Fit a candidate and put it in the lake; return its card."""
    from models import device

    backend = device.choose_backend()
    began = time.perf_counter()
    with tempfile.TemporaryDirectory(prefix="latentlake-") as work:
        train, held_out = (
            _examples(run, transform_id, split, work) for split in ("train", "eval")
        )
        _check_count(run, len(train))
        places = ", ".join(device.accelerators()) or "the CPU"
        log.info("train: %d images, with %s on %s", len(train), backend, places)
        found = _fit(run, transform_id, (train, held_out), work)
        seconds = round(time.perf_counter() - began, 3)
        card = _place(run, transform_id, found, train, seconds)
    store.write_json(
        run.path("train", CANDIDATE),
        {"space_id": card["space_id"], "transform_id": transform_id},
    )
    log.info(
        "train: candidate %s after %d epochs, the best was number %d",
        card["space_id"],
        card["epochs"],
        card["best_epoch"],
    )
    return card


def _examples(run: Run, transform_id: str, split: str, work: str) -> "Examples":
    """Return the examples of one split, from copies where the lake is a bucket."""
    from models.data import Examples
    from models.spec import ImageShape

    folder = run.lake.examples(transform_id, split)
    names = [name for name in store.names(folder) if name.endswith(".tfrecord")]
    if not store.is_local(folder) and names:
        local = os.path.join(work, split)
        folders.fetch(folder, local)
        folder = local
    image = run.settings.image
    shape = ImageShape(image.height, image.width, image.channels)
    try:
        return Examples([f"{folder}/{name}" for name in names], shape)
    except ValueError as error:
        raise ArtifactMismatch(str(error)) from error


def _check_count(run: Run, found: int) -> None:
    wanted = run.settings.train.min_images
    if found >= wanted:
        return
    words = (
        f"{run.lake.dataset}: {found} training images, and train.min_images asks for "
        f"{wanted}. Add images to {run.settings.source.path}, or lower train.min_images"
    )
    raise BadNight(f"{words}.") if not found else ConfigError(f"{words}.")


def _fit(
    run: Run, transform_id: str, examples: "tuple[Examples, Examples]", work: str
) -> "Candidate":
    """Fit; checkpoints and logs are kept in the run where it is on a disk."""
    from models import fit
    from pipelines.stages.training_progress import progress

    settings = fit.FitSettings(
        **run.settings.encoder.model_dump(),
        **run.settings.train.model_dump(exclude={"min_images"}),
    )
    folder = run.path("train")
    local = folder if store.is_local(folder) else os.path.join(work, "fit")
    try:
        with progress(settings.epochs) as listener:
            found = fit.fit(
                settings, *examples, local, listener, transform_id=transform_id
            )
    except fit.NonFiniteLoss as error:
        raise ConfigError(
            f"{run.lake.dataset}: training went astray: {error}. "
            f"Lower train.learning_rate (it is {settings.learning_rate:g})."
        ) from error
    except ValueError as error:
        raise ArtifactMismatch(str(error)) from error
    if local != folder:
        store.write_json(f"{folder}/history.json", found.history)
    return found


def _place(
    run: Run,
    transform_id: str,
    found: "Candidate",
    train: "Examples",
    seconds: float,
) -> dict[str, Any]:
    """Put the candidate in the lake, whole; return its card."""
    from models import artifact

    card = {
        **_provenance(run),
        "health": _health(found, train),
        "train_seconds": seconds,
        "epochs": len(found.history),
        "best_epoch": found.best_epoch,
        "resumed_at": found.resumed_at,
        "train_images": len(train),
        "losses": found.history[found.best_epoch - 1],
    }
    with tempfile.TemporaryDirectory(prefix="latentlake-") as work:
        transform = run.lake.transform(transform_id)
        if not store.is_local(transform):
            folders.fetch(transform, os.path.join(work, "transform"))
            transform = os.path.join(work, "transform")
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
    with _at_hand(folder) as local:
        try:
            return artifact.load(local)
        except artifact.ArtifactError as error:
            log.warning("train: %s It is trained again.", error)
            return None


@contextlib.contextmanager
def _at_hand(folder: str) -> Iterator[str]:
    """Yield the folder, or a copy of it where it is in a bucket."""
    if store.is_local(folder):
        yield folder
        return
    with tempfile.TemporaryDirectory(prefix="latentlake-") as work:
        local = os.path.join(work, "copy")
        folders.fetch(folder, local)
        yield local


def _result(card: dict[str, Any]) -> StageResult:
    losses = {name: card["losses"][name] for name in card["losses"] if "loss" in name}
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
        note=f"candidate {card['space_id']}, {card['epochs']} epochs",
    )
