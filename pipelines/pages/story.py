"""What a run's manifests say, in words and numbers: the page's text."""

import dataclasses
import shlex
from collections.abc import Mapping
from typing import Any, NamedTuple

Manifest = Mapping[str, Any]
STAGES = ("ingest", "transform", "train", "evaluate", "encode", "publish", "classify")
"""The stages a page tells of, in order."""

CODES = {
    1: "An accident; running it again may help.",
    2: "A setting is wrong, or the tables are held; a retry cannot help.",
    3: "The gate refused the candidate; it must be trained otherwise.",
    4: "The night as a whole cannot be trusted; look at the source.",
    5: "An artefact is not what it says it is.",
}


@dataclasses.dataclass(frozen=True)
class Facts:
    """What the page knows of a run.

    Attributes:
        dataset: Its name.
        night: The date the run stands for.
        run_id: The run's name.
        lake: Root of the lake.
        manifests: Of the stages that left one, by name.
    """

    dataset: str
    night: str
    run_id: str
    lake: str
    manifests: Mapping[str, Manifest]

    def status(self, stage: str) -> str:
        """Return what became of ``stage``: done, skipped, failed or missing."""
        return str(self.manifests.get(stage, {}).get("status", "missing"))

    def count(self, stage: str, name: str) -> int | None:
        """Return one count of ``stage``."""
        value = self.manifests.get(stage, {}).get("counts", {}).get(name)
        return None if value is None else int(value)

    def figure(self, stage: str, name: str) -> Any:
        """Return one figure of ``stage``."""
        return self.manifests.get(stage, {}).get("figures", {}).get(name)


class Headline(NamedTuple):
    """The night in one sentence; ``tone`` is good, calm, warn or bad."""

    tone: str
    chip: str
    sentence: str


class Failure(NamedTuple):
    """A stage that failed: its own words, what they mean, and how to go on."""

    stage: str
    error: str
    means: str
    command: str


class Number(NamedTuple):
    """One number of the night, with its share of what was listed, for the bar."""

    name: str
    title: str
    value: int
    share: float


class StageLine(NamedTuple):
    """One stage: what it took, and what it said."""

    name: str
    status: str
    wall: float
    cpu: float
    peak: float
    rate: float | None
    note: str
    wall_share: float
    peak_share: float


def headline(facts: Facts) -> Headline:
    """Return the night in one sentence."""
    failed = [stage for stage in STAGES if facts.status(stage) == "failed"]
    if failed and failed != ["classify"]:
        words = f"{failed[0].capitalize()} failed, and nothing was published."
        if facts.status("publish") == "done":
            words = f"{failed[0].capitalize()} failed, after the tables were published."
        return Headline("bad", "Failed", words)
    kept = facts.figure("evaluate", "verdict") == "kept"
    if facts.status("publish") == "done":
        return _published(facts, kept)
    if facts.status("publish") == "skipped":
        words = "Nothing is new tonight: the tables stand as they were."
        if kept:
            words += " A new encoder was tried, and kept out by the gate."
        return Headline("warn" if kept else "calm", "Nothing new", words)
    last = [stage for stage in STAGES if facts.status(stage) != "missing"]
    after = f"after {last[-1]}" if last else "before its first stage"
    return Headline("warn", "Unfinished", f"The night stopped {after}; so far nothing "
                    "was published.")  # fmt: skip


def _published(facts: Facts, kept: bool) -> Headline:
    rows = rows_published(facts)
    stands = "The tables are published" if rows is None else f"{rows:,} images stand"
    words = f"{stands} in the feature table"
    if kept:
        words += ", in the old space: the new encoder did not pass the gate."
        return Headline("warn", "Published, encoder kept", words)
    if facts.figure("evaluate", "verdict") == "accepted":
        words += ", encoded anew: a new encoder passed the gate"
    return Headline("good", "Published", words + ".")


def rows_published(facts: Facts) -> int | None:
    """Return how many rows publish left in the feature table, where it said so."""
    return facts.count("publish", "rows")


def failures(facts: Facts) -> list[Failure]:
    """Return every stage that failed, in order."""
    found = []
    for stage in STAGES:
        manifest = facts.manifests.get(stage, {})
        if manifest.get("status") != "failed":
            continue
        command = (
            f"latentlake {stage} {shlex.quote(facts.dataset)} "
            f"--lake {shlex.quote(facts.lake)} --run-id {shlex.quote(facts.run_id)}"
        )
        means = CODES.get(int(manifest.get("exit_code", 1)), CODES[1])
        found.append(Failure(stage, str(manifest.get("error", "")), means, command))
    return found


def numbers(facts: Facts) -> tuple[list[Number], list[Number]]:
    """Return what was listed, and what became of what was due, in the page's order."""
    listed = (("new", "new"), ("changed", "changed"), ("known", "known already"))
    became = (
        ("accepted", "accepted"),
        ("duplicate", "duplicates"),
        ("rejected", "rejected"),
    )
    return _shares(facts, listed), _shares(facts, became)


def _shares(facts: Facts, names: tuple[tuple[str, str], ...]) -> list[Number]:
    found = [(name, title, facts.count("ingest", name)) for name, title in names]
    whole = sum(value or 0 for _, _, value in found) or 1
    return [
        Number(name, title, value, value / whole)
        for name, title, value in found
        if value is not None
    ]


def stage_lines(facts: Facts) -> list[StageLine]:
    """Return what each stage cost, with its share of the dearest one."""
    costs = {
        stage: facts.manifests[stage].get("cost", {})
        for stage in STAGES
        if stage in facts.manifests
    }
    longest = max((cost.get("wall_s", 0.0) for cost in costs.values()), default=0.0)
    largest = max((cost.get("peak_mib", 0.0) for cost in costs.values()), default=0.0)
    return [
        StageLine(
            name=stage,
            status=facts.status(stage),
            wall=cost.get("wall_s", 0.0),
            cpu=cost.get("cpu_s", 0.0),
            peak=cost.get("peak_mib", 0.0),
            rate=_rate(facts, stage),
            note=str(facts.manifests[stage].get("note", "")),
            wall_share=cost.get("wall_s", 0.0) / (longest or 1.0),
            peak_share=cost.get("peak_mib", 0.0) / (largest or 1.0),
        )
        for stage, cost in costs.items()
    ]


def _rate(facts: Facts, stage: str) -> float | None:
    """Return the images that ``stage`` carried in a second, where it can be told."""
    said = facts.figure(stage, "images_per_s")
    if said is not None or stage != "train":
        return said
    images, epochs = facts.count(stage, "train"), facts.count(stage, "epochs")
    seconds = facts.figure(stage, "seconds")
    return images * epochs / seconds if images and epochs and seconds else None
