"""Report: one self-contained page of a run, made after nights that failed too."""

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from models.section import Encoder
from models.settings import PRESETS, preset_of
from pipelines.lake import store
from pipelines.lake.run import Run
from pipelines.records import StageResult

if TYPE_CHECKING:
    from bokeh.plotting import figure

    from pipelines.pages.keepsake import Keepsake

NAME = "report.html"
SMALL_SIDE = 40
"""Images up to this size are shown twenty in a row, larger ones ten."""

log = logging.getLogger(__name__)


def run(run: Run, beam_flags: list[str]) -> StageResult:
    """Make the page of ``run`` from whatever its stages left."""
    log.info("report: making the page of run %s", run.run_id)
    page = make_page(run)
    path = run.path(NAME)
    store.write_bytes(path, page.encode())
    log.info("report: %s", path)
    return StageResult(
        figures={"mib": round(len(page) / 2**20, 2)},
        wrote={"report": path},
        note=f"The page of the night: {path}",
    )


def make_page(run: Run) -> str:
    """Return the page as HTML."""
    from pipelines.pages import figures, page, reading, story

    facts = _facts(run)
    judged_by = _origin_of_pictures(run)
    pictures = _pictures(run, judged_by)
    history = _json(run.lake.run(judged_by, "train", "history.json"))
    judged = _json(run.lake.run(judged_by, "evaluation.json"))
    listed, became = story.numbers(facts)
    values = {
        "facts": facts,
        "headline": story.headline(facts),
        "failures": story.failures(facts),
        "listed": listed,
        "became": became,
        "gone": facts.count("ingest", "gone") or 0,
        "published": story.rows_published(facts),
        "stages": story.stage_lines(facts),
        "gate": judged and judged["figures"],
        "gate_rows": figures.rows(judged["figures"]) if judged else [],
        "candidate": judged and judged["space_id"],
        "pictures_of": judged_by,
        "snapshots": reading.snapshots(run.lake),
        "code": reading.code(run.lake),
        "settings": run.settings.model_dump(mode="json"),
        "history": history or [],
        "trained": _trained(run, judged_by),
        **_rejections(run),
        **_pairs(pictures),
    }
    banner, charts = _charts(pictures, history)
    return page.render(values | {"banner": banner}, charts)


def _facts(run: Run) -> Any:
    from pipelines.pages import story

    found = {stage: run.manifest(stage) for stage in story.STAGES}
    manifests = {stage: each for stage, each in found.items() if each is not None}
    root = run.lake.root
    return story.Facts(run.lake.dataset, run.night, run.run_id, root, manifests)


def _origin_of_pictures(run: Run) -> str:
    """Return the run whose evaluation is shown: this one, else the accepting one."""
    from pipelines.lake import pointer
    from pipelines.pages import keepsake

    if store.exists(run.path(keepsake.NAME)):
        return run.run_id
    accepted = pointer.read(run.lake)
    return accepted.run_id if accepted else run.run_id


def _trained(run: Run, judged_by: str) -> type[Encoder]:
    """Return the preset of the encoder that is shown."""
    pinned = _json(run.lake.run(judged_by, "run.json"))
    encoder = pinned["settings"]["encoder"] if pinned else run.settings.encoder
    return PRESETS[preset_of(encoder)]


def _pictures(run: Run, judged_by: str) -> "Keepsake | None":
    from pipelines.pages import keepsake

    return keepsake.load(run.lake.run(judged_by, keepsake.NAME))


def _json(path: str) -> Any:
    return store.read_json(path) if store.exists(path) else None


def _rejections(run: Run) -> dict[str, Any]:
    from pipelines.pages import rejections

    rows = rejections.rows_of(run)
    if rows is None:
        return {"rejections": None, "reject_bars": [], "rejected": []}
    return {
        "rejections": rows.num_rows,
        "reject_bars": rejections.bars(rows),
        "rejected": rejections.examples(run, rows),
    }


def _pairs(found: "Keepsake | None") -> dict[str, Any]:
    """Return originals above their reconstructions: a selection, and the worst."""
    if found is None:
        return {"selection": [], "worst": [], "small_pictures": True}
    from pipelines.pages import pictures

    cells = []
    for at, place in enumerate(found.shown):
        stack = (
            found.originals[at],
            found.reconstructions[at],
            found.pca_reconstructions[at],
        )
        cells.append(
            {
                "picture": pictures.stacked_uri(stack),
                "label": str(found.labels[place]),
                "uri": str(found.source_uris[place]),
                "error": float(found.errors[place]),
            }
        )
    cut = int(found.selected)
    small = max(found.originals.shape[1:3]) <= SMALL_SIDE
    return {
        "selection": cells[:cut],
        "worst": cells[cut:],
        "small_pictures": small,
    }


def _charts(
    found: "Keepsake | None", history: list[Mapping[str, float]] | None
) -> "tuple[dict[str, Any] | None, dict[str, figure]]":
    """Return the banner, if there is one, and the interactive charts by name."""
    from pipelines.pages import curves, latent_map, pictures

    charts: dict[str, figure] = {}
    if history:
        charts["curves"] = curves.plot(history)
    if found is None or len(found.mapped) < latent_map.FEWEST:
        return None, charts
    labels = [str(label) for label in found.labels[found.mapped]]
    places = latent_map.place(found.latents)
    charts["map"] = latent_map.plot(
        places,
        labels,
        found.errors[found.mapped],
        [str(uri) for uri in found.source_uris[found.mapped]],
        found.thumbnails,
    )
    whole = latent_map.banner(places, labels, found.thumbnails)
    if whole is None:
        return None, charts
    height, width = whole.shape[:2]
    banner = {"picture": pictures.data_uri(whole), "width": width, "height": height}
    return banner, charts
