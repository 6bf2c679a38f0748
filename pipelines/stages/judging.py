"""How evaluate judges: the same held-out images for candidate, PCA and accepted."""

import dataclasses
import logging
import os
import tempfile
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from models import artifact, pca
from models.artifact import Artifact
from pipelines.errors import ArtifactMismatch
from pipelines.lake import folders, inventory, pointer, store
from pipelines.lake.run import Run
from pipelines.pages import keepsake
from pipelines.stages import gate, keep, measure
from pipelines.stages.gate import Bounds, Evidence, Figures, Name, Verdict
from pipelines.stages.measure import Exam, Shown
from pipelines.stages.sample import Sample, choose

log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Rival:
    """The encoder that is accepted so far, where there is one.

    Attributes:
        space_id: Its space.
        shown: What it showed; none where it cannot serve: it is damaged, or of another
            image spec.
    """

    space_id: str
    shown: Shown | None


def judge(run: Run, space_id: str) -> dict[str, Any]:
    """Return what was found about the candidate; leave pictures for the report."""
    with tempfile.TemporaryDirectory(prefix="latentlake-") as work:
        return _judge(run, space_id, work)


def _judge(run: Run, space_id: str, work: str) -> dict[str, Any]:
    corpus: pa.Table = inventory.corpus(run)
    exam = set_exam(run, corpus)
    candidate = load(run, space_id, work)
    fitted = trained_on(run, corpus)
    yardstick = pca.fit(fitted.batches, candidate.latent_dim, run.settings.train.seed)
    mine, theirs = (measure.examine(model, exam) for model in (candidate, yardstick))
    rival = find_rival(run, candidate, work, exam, mine)
    evidence = weigh(run, exam, (mine, theirs), rival)
    verdict = gate.judge(evidence, run.settings.gate)
    pictures = keep.make(exam.held_out, mine, candidate, yardstick)
    keepsake.save(run.path(keepsake.NAME), pictures)
    return {
        "accepted_before": rival.space_id if rival else None,
        "counts": {
            "held_out": len(exam.held_out),
            "labelled": exam.labelled,
            "probe": len(exam.train),
            "pca": len(fitted),
        },
        "figures": written_down(evidence, verdict),
    }


def trained_on(run: Run, corpus: pa.Table) -> Sample:
    """Return the images that the candidate was trained on: PCA gets no fewer."""
    most = run.settings.transform.max_train_images
    return Sample(run.lake, choose(corpus, "train", most))


def set_exam(run: Run, corpus: pa.Table) -> Exam:
    """Return the held-out images and the training images that probes are fitted on."""
    limits = run.settings.gate
    train = Sample(run.lake, choose(corpus, "train", limits.probe_images))
    held_out = Sample(run.lake, choose(corpus, "eval", limits.max_images))
    return measure.set_exam(train, held_out, limits)


def load(run: Run, space_id: str, work: str) -> Artifact:
    """Return the encoder of a space, checked; copied to ``work`` from a bucket.

    Raises:
        ArtifactMismatch: Its files are not what its card says.
    """
    folder = run.lake.encoder(space_id)
    local = folder
    if not store.is_local(folder):
        local = os.path.join(work, space_id)
        folders.fetch(folder, local)
    try:
        return artifact.load(local)
    except artifact.ArtifactError as error:
        raise ArtifactMismatch(
            f"{folder}: {error} Restore the folder from a copy, or have a new encoder "
            f"trained: latentlake night {run.lake.dataset} --retrain always"
        ) from error


def find_rival(
    run: Run, candidate: Artifact, work: str, exam: Exam, mine: Shown
) -> Rival | None:
    """Return the accepted encoder and what it shows on the same images.

    Raises:
        ArtifactMismatch: Its files are damaged, and no other was asked for.
    """
    standing = pointer.read(run.lake)
    if standing is None:
        return None
    if standing.space_id == candidate.space_id:
        return Rival(standing.space_id, mine)
    try:
        accepted = load(run, standing.space_id, work)
    except ArtifactMismatch as error:
        if run.retrain != "always":
            raise
        log.warning("evaluate: %s The candidate is judged without it.", error)
        return Rival(standing.space_id, None)
    fits = accepted.card["image_spec_id"] == run.image_spec_id
    return Rival(standing.space_id, measure.examine(accepted, exam) if fits else None)


def weigh(
    run: Run, exam: Exam, shown: tuple[Shown, Shown], rival: Rival | None
) -> Evidence:
    """Return the evidence: candidate's and PCA's figures, and what lies between."""
    limits = run.settings.gate
    mine, theirs = shown
    accepted = rival.shown if rival else None
    return Evidence(
        candidate=mine.figures(),
        pca=theirs.figures(),
        accepted=accepted.figures() if accepted else None,
        standing=accepted is not None,
        over_pca=measure.intervals(mine, theirs, limits),
        over_accepted=measure.intervals(mine, accepted, limits) if accepted else {},
        images=len(exam.held_out),
        labelled=exam.labelled,
    )


def written_down(evidence: Evidence, verdict: Verdict) -> dict[str, Any]:
    """Return evidence and verdict as the manifest has them."""
    return {
        "verdict": verdict.verdict,
        "primary": verdict.primary,
        "reasons": verdict.reasons,
        "checks": [check._asdict() for check in verdict.checks],
        "candidate": _plain(evidence.candidate),
        "pca": _plain(evidence.pca),
        "accepted": _plain(evidence.accepted) if evidence.accepted else None,
        "intervals": {
            "pca": _listed(evidence.over_pca),
            "accepted": _listed(evidence.over_accepted),
        },
    }


def _plain(figures: Figures) -> dict[str, float]:
    return {
        name: value for name, value in figures._asdict().items() if value is not None
    }


def _listed(bounds: Mapping[Name, Bounds]) -> dict[str, list[float]]:
    return {name: list(each) for name, each in bounds.items()}
