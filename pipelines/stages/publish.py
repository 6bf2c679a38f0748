"""Publish: commit tonight's rows to audit branches, check them, move the tables.

The order of the two moves is fixed: images, then features. The feature table follows
from the image table, so a crash between them is made good by the next publish.
"""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa
from pyiceberg.exceptions import CommitFailedException

from pipelines.errors import ArtifactMismatch, GateRefused, LakeBusy
from pipelines.lake import (
    branches,
    checks,
    drafts,
    inventory,
    lease,
    pointer,
    store,
    tables,
)
from pipelines.lake.branches import Draft
from pipelines.lake.checks import Space
from pipelines.lake.drafts import Plan
from pipelines.lake.pointer import Accepted
from pipelines.lake.run import Run
from pipelines.lake.tables import PREFIX
from pipelines.records import StageResult

if TYPE_CHECKING:
    from pyiceberg.table import Table

ATTEMPTS = 5

log = logging.getLogger(__name__)


class Plans(NamedTuple):
    """What both tables become, from one reading of them.

    Attributes:
        images_base: The snapshot of the image table that was read.
        features_base: The snapshot of the feature table that was read.
        images: What the image table becomes.
        features: What the feature table becomes.
        table: The feature table.
        corpus: The accepted images afterwards.
        accepted: The accepted encoder.
    """

    images_base: int
    features_base: int
    images: Plan
    features: Plan
    table: "Table"
    corpus: pa.Table
    accepted: Accepted

    @property
    def empty(self) -> bool:
        """Whether both tables stay, and fit each other."""
        fits = _images_of(self.table) in (None, self.images_base)
        return self.images.empty and self.features.empty and fits


def run(run: Run, beam_flags: list[str]) -> StageResult:
    """Publish what ``run`` staged: both tables, checked, or none."""
    log.info("publish: %s of %s", run.run_id, run.lake.dataset)
    with lease.hold(run.lake, run.run_id) as held:
        tables.ensure(run.lake)
        if not run.dry_run:
            branches.sweep(run.lake, alone=held.exclusive)
        for _ in range(ATTEMPTS):
            branches.refuse_held(run.lake)
            plans = plan_both(run)
            if plans.empty or run.dry_run:
                return _skipped(plans)
            result = _publish(run, plans, held.confirm)
            if result is not None:
                return result
            log.info("publish: main moved meanwhile; building anew on what it is now")
    raise LakeBusy(
        f"{run.lake.dataset}: other runs moved its tables {ATTEMPTS} times while this "
        "one published. Nothing was lost; run the same command again."
    )


def plan_both(run: Run) -> Plans:
    """Return what tonight makes of both tables as they are now."""
    images, features = (tables.load(run.lake, n) for n in tables.NAMES)
    images_base, features_base = tables.main_id(images), tables.main_id(features)
    if images_base is None or features_base is None:
        raise ArtifactMismatch(
            f"{run.lake.warehouse}: a table of {run.lake.dataset} has no snapshot. "
            "Restore the catalog from a backup, or begin with another lake."
        )
    accepted = pointer.read(run.lake)
    if accepted is None:
        raise GateRefused(
            f"{run.lake.accepted}: no encoder was ever accepted, so there is no space "
            "to publish in. Look at the reasons that evaluate gave."
        )
    plan = drafts.plan_images(run, images, images_base)
    corpus = inventory.corpus_of(plan.after, None)
    rest = drafts.plan_features(run, features, features_base, corpus, accepted.space_id)
    return Plans(images_base, features_base, plan, rest, features, corpus, accepted)


def _publish(run: Run, plans: Plans, confirm: Callable[[], None]) -> StageResult | None:
    """Return what was published, or ``None`` where ``main`` was no longer the base.

    The branches of a draft that fails its checks are removed again. Nothing moves
    unless the lease is ``confirm``-ed: a lost one may be another's by now.
    """
    drafted: list[Draft] = []
    try:
        if not plans.images.empty:
            drafted.append(_draft_images(run, plans))
            checks.check_images(run.lake, drafted[0], plans.corpus.num_rows)
        at = drafted[0].snapshot if drafted else plans.images_base
        draft, figures = _draft_features(run, plans, at)
        drafted.append(draft)
        checks.check_features(run.lake, draft, plans.corpus, _space(run, plans))
        confirm()
        moved = all(branches.move(run.lake, one) for one in drafted)
    except CommitFailedException:
        moved = False  # without a lease: another changed a table while we drafted
    except BaseException:
        _drop(run, drafted)
        raise
    if not moved:
        _drop(run, drafted)
        return None
    return _result(plans, figures, {"images": at, "features": draft.snapshot})


def _draft_images(run: Run, plans: Plans) -> Draft:
    change = drafts.write_images(run, plans.images, plans.images_base)
    branch = branches.audit_branch(run.run_id)
    return branches.build(run.lake, "images", branch, plans.images_base, change)


def _draft_features(
    run: Run, plans: Plans, images_snapshot: int
) -> tuple[Draft, dict[str, Any]]:
    """Return the drafted feature table, and the drift of tonight's images."""
    base, space_id = plans.features_base, plans.accepted.space_id
    try:
        change = drafts.write_features(run, plans.features, plans.table, base, space_id)
    except ArtifactMismatch as error:
        _refuse_other_space(run, space_id, error)
        raise
    change.properties[f"{PREFIX}images_snapshot"] = str(images_snapshot)
    figures: dict[str, Any] = {}
    mean = drafts.mean_error(change.add, plans.table, run)
    if mean is not None and plans.accepted.eval_error:
        figures["drift"] = mean / plans.accepted.eval_error
        change.properties[f"{PREFIX}drift"] = repr(figures["drift"])
    branch = branches.audit_branch(run.run_id)
    return branches.build(run.lake, "features", branch, base, change), figures


def _refuse_other_space(run: Run, space_id: str, error: ArtifactMismatch) -> None:
    """Say what to do where the run encoded for a space that is no longer accepted."""
    encoded = (run.manifest("encode") or {}).get("wrote", {}).get("space_id", space_id)
    if encoded != space_id:
        raise ArtifactMismatch(
            f"{run.lake.dataset}: run {run.run_id} encoded for the space {encoded}, "
            f"and meanwhile {space_id} was accepted. Nothing was published; what the "
            "run decoded is kept. Start a new run, which begins with what stands now: "
            f"latentlake night {run.lake.dataset} --lake {run.lake.root}"
        ) from error


def _space(run: Run, plans: Plans) -> Space:
    """Return what the card of the accepted encoder says of its latents."""
    space_id = plans.accepted.space_id
    path = run.lake.encoder(space_id, "card.json")
    if not store.exists(path):
        raise ArtifactMismatch(
            f"{path}: is missing, so the latents of space {space_id} cannot be "
            "checked. Restore the encoder's folder, or train again."
        )
    card = store.read_json(path)
    if card["space_id"] != space_id:
        raise ArtifactMismatch(
            f"{path}: describes space {card['space_id']}, and lies in the folder of "
            f"{space_id}. Restore the encoder's folder, or train again."
        )
    if card["image_spec_id"] != run.image_spec_id:
        raise ArtifactMismatch(
            f"{path}: the encoder is for images of spec {card['image_spec_id']}, and "
            f"tonight's are of {run.image_spec_id}. Have an encoder trained: "
            f"latentlake night {run.lake.dataset} --retrain always"
        )
    health = card.get("health", {})
    return Space(
        space_id,
        int(card["latent_dim"]),
        dead=int(health.get("dead_dims", 0)),
        longest=float(max(health.get("norm_range", [0.0]))),
    )


def _images_of(features: "Table") -> int | None:
    """Return the image snapshot that the feature table was made from."""
    properties = tables.properties_of(features.current_snapshot())
    value = properties.get(f"{PREFIX}images_snapshot")
    return int(value) if value else None


def _drop(run: Run, drafted: list[Draft]) -> None:
    """Remove the branches of ``drafted``; what cannot be now, the next publish does."""
    for draft in drafted:
        try:
            branches.drop_branch(run.lake, draft.name, draft.branch)
        except Exception as error:
            log.warning("publish: the branch %s stays for now: %s", draft.branch, error)


def _skipped(plans: Plans) -> StageResult:
    counts = _counts(plans)
    note = "nothing to publish: both tables are as the night left them"
    if not plans.empty:
        note = (
            f"dry run: would add {counts['added']}, update {counts['updated']} and "
            f"remove {counts['removed']} feature rows"
        )
    return StageResult(counts=counts, note=note, skipped=True)


def _result(
    plans: Plans, figures: dict[str, Any], snapshots: dict[str, int]
) -> StageResult:
    counts = _counts(plans)
    note = (
        f"{counts['rows']} rows published: {counts['added']} added, "
        f"{counts['updated']} updated, {counts['removed']} removed; snapshot "
        f"{snapshots['features']}"
    )
    return StageResult(
        counts=counts,
        figures=figures,
        read={"images_base": plans.images_base, "features_base": plans.features_base},
        wrote={
            "images_snapshot": snapshots["images"],
            "features_snapshot": snapshots["features"],
            "space_id": plans.accepted.space_id,
        },
        note=note,
    )


def _counts(plans: Plans) -> dict[str, int]:
    """Return the rows afterwards, and what changes: entries of images, rows."""
    entries = {f"entries_{k}": v for k, v in plans.images.counts.items()}
    whole = {"entries": plans.images.after.num_rows, "rows": plans.corpus.num_rows}
    return whole | entries | plans.features.counts
