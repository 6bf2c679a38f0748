"""The gate: whether a candidate may be used. A pure function of figures and limits."""

import dataclasses
from collections.abc import Mapping
from typing import Literal, NamedTuple

from pipelines.config import GateSettings

Name = Literal["linear", "knn", "psnr"]
Decision = Literal["accepted", "kept", "refused"]

TITLES: dict[Name, str] = {"linear": "linear probe", "knn": "k-NN", "psnr": "PSNR"}
UNITS: dict[Name, str] = {"linear": "points", "knn": "points", "psnr": "dB"}


class Bounds(NamedTuple):
    """Both ends of a 95 % interval."""

    low: float
    high: float


class Figures(NamedTuple):
    """What one model showed on the held-out images.

    Attributes:
        psnr: Mean peak signal-to-noise ratio, dB.
        linear: Accuracy of a linear probe, per cent; none without labels.
        knn: Accuracy of ten nearest neighbours, per cent; none without labels.
        ssim: Mean structural similarity.
        error: Mean squared reconstruction error.
        effective_rank: How many dimensions carry the latents.
        dead_dims: Dimensions that say nothing.
    """

    psnr: float
    linear: float | None = None
    knn: float | None = None
    ssim: float | None = None
    error: float | None = None
    effective_rank: float | None = None
    dead_dims: int | None = None


@dataclasses.dataclass(frozen=True, kw_only=True)
class Evidence:
    """All that the gate judges by.

    Attributes:
        candidate: Figures of the candidate.
        pca: Figures of PCA of its size.
        accepted: Figures of the accepted encoder, where one can be compared.
        standing: Whether an accepted encoder could serve tonight instead.
        over_pca: Intervals of the candidate's gain over PCA, by figure.
        over_accepted: Intervals of its gain over the accepted encoder, by figure.
        images: Held-out images judged.
        labelled: How many of them have labels.
    """

    candidate: Figures
    pca: Figures
    accepted: Figures | None = None
    standing: bool = False
    over_pca: Mapping[Name, Bounds] = dataclasses.field(default_factory=dict)
    over_accepted: Mapping[Name, Bounds] = dataclasses.field(default_factory=dict)
    images: int
    labelled: int = 0


class Check(NamedTuple):
    """One thing the gate looked at.

    Attributes:
        name: What was looked at; a figure's name, or `images` or `labels`.
        against: Whom the candidate was compared with; empty for no one.
        found: What was found.
        limit: What it had to reach.
        ok: Whether it did.
        says: The same as a sentence.
    """

    name: str
    against: str
    found: float
    limit: float
    ok: bool
    says: str


class Verdict(NamedTuple):
    """What the gate decided, and why."""

    verdict: Decision
    primary: Name
    reasons: list[str]
    checks: list[Check]


def judge(evidence: Evidence, gate: GateSettings) -> Verdict:
    """Return whether the candidate is accepted, else kept or refused, and why."""
    primary = primary_figure(gate, labelled=evidence.candidate.linear is not None)
    if getattr(evidence.candidate, primary) is None:
        checks = [_lacks_labels(evidence, gate)]
    else:
        checks = [
            _enough_images(evidence, gate, primary),
            _gain(evidence, gate, primary),
            *_others(evidence, gate, primary),
            *_not_worse(evidence, gate, primary),
        ]
    failed = [check.says for check in checks if not check.ok]
    if not failed:
        return Verdict("accepted", primary, [c.says for c in checks], checks)
    return Verdict("kept" if evidence.standing else "refused", primary, failed, checks)


def primary_figure(gate: GateSettings, *, labelled: bool) -> Name:
    """Return the figure on which a candidate must beat PCA."""
    if gate.primary == "auto":
        return "linear" if labelled else "psnr"
    return gate.primary


def enough(count: int, gate: GateSettings) -> bool:
    """Return whether ``count`` held-out images give an interval."""
    return count >= gate.min_images


def _lacks_labels(evidence: Evidence, gate: GateSettings) -> Check:
    says = (
        f"gate.primary is 'linear', which needs labels of two classes or more on "
        f"{gate.min_images} held-out images; {evidence.labelled} have one. Label the "
        'source, or set gate.primary = "psnr".'
    )
    return Check("labels", "", evidence.labelled, gate.min_images, False, says)


def _enough_images(evidence: Evidence, gate: GateSettings, primary: Name) -> Check:
    count = evidence.images if primary == "psnr" else evidence.labelled
    ok = enough(count, gate)
    says = f"{count:,} held-out images were judged (at least {gate.min_images:,})."
    if not ok and gate.allow_small:
        says = (
            f"Only {count:,} held-out images were judged, fewer than "
            f"{gate.min_images:,}: there is no interval, and the plain figures count "
            "because gate.allow_small is set."
        )
    elif not ok:
        says = (
            f"Only {count:,} held-out images; {gate.min_images:,} are needed before a "
            "gain can be told from chance. Add images, raise split.eval_fraction, or "
            "set gate.allow_small = true to accept on the plain figures."
        )
    name = "images"
    return Check(name, "", count, gate.min_images, ok or gate.allow_small, says)


def _gain(evidence: Evidence, gate: GateSettings, primary: Name) -> Check:
    mine, theirs = _pair(evidence.candidate, evidence.pca, primary)
    bounds = evidence.over_pca.get(primary)
    low = bounds.low if bounds else mine - theirs
    ok = low > gate.min_gain
    says = (
        f"{_capital(primary)} {mine:.1f} against PCA's {theirs:.1f}: "
        f"{_gain_words(mine - theirs, bounds, primary)}"
    )
    says += ", above " if ok else "; its lower end must lie above "
    says += f"{gate.min_gain:g}."
    if not ok:
        says += " The candidate is not shown to beat PCA of its size."
    return Check(primary, "pca", low, gate.min_gain, ok, says)


def _others(evidence: Evidence, gate: GateSettings, primary: Name) -> list[Check]:
    limits: dict[Name, tuple[float, float]] = {
        "linear": (gate.linear_margin, gate.linear_floor),
        "knn": (gate.knn_margin, gate.knn_floor),
        "psnr": (gate.psnr_margin, gate.psnr_floor),
    }
    checks = []
    for name, (margin, floor) in limits.items():
        if name == primary or getattr(evidence.candidate, name) is None:
            continue
        mine, theirs = _pair(evidence.candidate, evidence.pca, name)
        limit = min(theirs - margin, floor)
        ok = mine >= limit
        says = (
            f"{_capital(name)} {mine:.1f} {'reaches' if ok else 'is below'} "
            f"{limit:.1f} (PCA's {theirs:.1f} less {margin:g} {UNITS[name]}, or the "
            f"floor of {floor:g}, whichever is lower)."
        )
        checks.append(Check(name, "pca", mine, limit, ok, says))
    return checks


def _not_worse(evidence: Evidence, gate: GateSettings, primary: Name) -> list[Check]:
    if evidence.accepted is None or getattr(evidence.accepted, primary) is None:
        return []
    mine, theirs = _pair(evidence.candidate, evidence.accepted, primary)
    bounds = evidence.over_accepted.get(primary)
    low = bounds.low if bounds else mine - theirs
    limit = -gate.accepted_margin
    ok = low > limit
    says = (
        f"{_capital(primary)} {mine:.1f} against the accepted encoder's "
        f"{theirs:.1f}: {_gain_words(mine - theirs, bounds, primary)}"
    )
    says += ", above " if ok else "; its lower end must lie above "
    says += f"{limit:g}."
    return [Check(primary, "accepted", low, limit, ok, says)]


def _pair(mine: Figures, theirs: Figures, name: Name) -> tuple[float, float]:
    return float(getattr(mine, name)), float(getattr(theirs, name))


def _gain_words(gain: float, bounds: Bounds | None, name: Name) -> str:
    words = f"{gain:+.1f} {UNITS[name]}"
    if bounds is None:
        return f"{words} (too few images for an interval)"
    return f"{words}, 95 % interval {bounds.low:+.1f} to {bounds.high:+.1f}"


def _capital(name: Name) -> str:
    title = TITLES[name]
    return title[0].upper() + title[1:] if title.islower() else title
