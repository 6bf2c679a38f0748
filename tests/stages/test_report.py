import html.parser
import json

import numpy as np
import pytest

from pipelines.errors import OutOfSpace
from pipelines.lake import manifest, pointer, store
from pipelines.pages import keepsake
from pipelines.stages import publish, report

HOSTILE = "</script><script>alert(1)</script><img src=x onerror=alert(2)>.png"
DONE = {"status": "done", "exit_code": 0, "counts": {}, "figures": {}}


class Page(html.parser.HTMLParser):
    """What a browser would make of a page: its elements and its text."""

    def __init__(self, text):
        super().__init__()
        self.elements = []
        self.text = []
        self._inside = None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        self._inside = tag

    def handle_endtag(self, tag):
        self._inside = None

    def handle_data(self, data):
        if self._inside not in ("script", "style"):
            self.text.append(data)

    @property
    def words(self):
        return " ".join(" ".join(self.text).split())

    def all(self, tag):
        return [attributes for name, attributes in self.elements if name == tag]


def made(run):
    result = report.run(run, [])
    return Page(store.read_bytes(result.wrote["report"]).decode())


def leave(run, stage, **value):
    manifest.write(run.lake, run.run_id, stage, DONE | value)


def judged(run, uri="/src/0/1.png", label="1", count=48, verdict="accepted"):
    """Leave what evaluate leaves: an evaluation with pictures."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 255, (count, 12, 12, 1), dtype=np.uint8)
    store.write_json(
        run.path("evaluation.json"),
        {
            "space_id": "space-two",
            "figures": {
                "verdict": verdict,
                "primary": "linear",
                "reasons": ["It is too weak."],
                "checks": [
                    {"name": "linear", "ok": verdict == "accepted", "says": "So it is."}
                ],
                "candidate": {"linear": 93.0, "psnr": 21.0},
                "pca": {"linear": 88.0, "psnr": 20.0},
                "accepted": None,
                "intervals": {"pca": {"linear": [2.0, 6.0]}, "accepted": {}},
            },
        },
    )
    store.write_json(
        run.path("train", "history.json"),
        [
            {"epoch": e, "loss": 1 / e, "val_loss": 1.1 / e, "learning_rate": 1e-3,
             "seconds": 1.0}
            for e in (1, 2, 3)
        ],
    )  # fmt: skip
    keepsake.save(
        run.path(keepsake.NAME),
        keepsake.Keepsake(
            image_ids=np.array([f"{n:064x}" for n in range(count)]),
            source_uris=np.array([uri] * count),
            labels=np.array([label] * count),
            errors=rng.random(count).astype(np.float32),
            shown=np.arange(10),
            selected=np.array(6),
            originals=pixels[:10],
            reconstructions=pixels[:10],
            pca_reconstructions=pixels[:10],
            mapped=np.arange(count),
            latents=rng.normal(size=(count, 4)).astype(np.float32),
            thumbnails=pixels,
        ),
    )


def test_the_page_of_a_published_night_shows_all_of_it(nights):
    run = nights.night("2026-01-01", {"/src/1.png": "a", "/src/2.png": "b", "/x": ""})
    leave(run, "ingest", counts={"listed": 3, "new": 3, "accepted": 2, "rejected": 1})
    published = publish.run(run, [])
    leave(run, "publish", counts=published.counts)
    judged(run)

    page = made(run)

    assert "2 images stand in the feature table" in page.words
    assert "1 rejected" in page.words
    assert "zero bytes" in page.words
    assert "The gate: accepted" in page.words
    assert "The worst 4 by reconstruction error" in page.words
    assert "load_catalog" in page.words
    assert nights.lake.catalog_file in page.words
    ids = {attributes.get("id") for attributes in page.all("section")}
    assert ids >= {"numbers", "rejections", "pictures", "map", "gate", "training"}


@pytest.mark.parametrize(
    ("preset", "words"),
    [
        ("conv", "and what else was asked; the rate is halved when it stops falling."),
        ("instance", "of knowing an image among others; the rate follows a plan."),
    ],
)
def test_the_page_says_what_the_loss_of_the_preset_is(nights, preset, words):
    run = nights.begin("2026-01-01")
    judged(run)
    pinned = store.read_json(run.path("run.json"))
    pinned["settings"]["encoder"] = {"preset": preset}
    store.write_json(run.path("run.json"), pinned)

    assert words in made(run).words


def test_the_page_asks_nothing_of_the_network_and_forbids_it(nights):
    run = nights.begin("2026-01-01")
    judged(run)

    page = made(run)

    policy = next(m for m in page.all("meta") if "http-equiv" in m)
    assert policy["content"].startswith("default-src 'none'")
    assert "http" not in policy["content"]
    assert not page.all("link")
    assert not [s for s in page.all("script") if s.get("src")]
    assert all(image["src"].startswith("data:image/") for image in page.all("img"))
    assert all(image.get("alt") for image in page.all("img"))


def test_hostile_names_labels_and_messages_stay_text(nights):
    pages = []
    for night, name in (("2026-01-01", "harmless.png"), ("2026-01-02", HOSTILE)):
        run = nights.begin(night)
        nights.ingest(run, {f"/src/{name}": ""}, detail=name)
        leave(run, "ingest", status="failed", exit_code=1, error=name, note=name)
        judged(run, uri=f"/src/{name}", label=name)
        pages.append(made(run))

    harmless, hostile = pages
    assert f"/src/{HOSTILE}" in hostile.words
    assert "<script>alert(1)" not in _raw(run)
    assert [tag for tag, _ in hostile.elements] == [tag for tag, _ in harmless.elements]


def test_a_failed_night_says_on_top_what_failed_and_how_to_go_on(nights):
    run = nights.begin("2026-01-01")
    error = "/src: lists no entry at all. Look whether the source is mounted."
    leave(run, "ingest", status="failed", exit_code=4, error=error)

    page = made(run)

    assert "Ingest failed, and nothing was published." in page.words
    assert error in page.words
    assert f"latentlake ingest digits --lake {nights.lake.root}" in page.words
    assert page.words.index(error) < page.words.index("The night in numbers")
    assert not page.all("img")


def test_a_night_without_any_manifest_has_a_page_too(nights):
    page = made(nights.begin("2026-01-01"))

    assert "The night stopped before its first stage" in page.words
    assert "No stage left a manifest" in page.words


def test_an_encoder_that_was_kept_out_is_said_loudly(nights):
    run = nights.begin("2026-01-01")
    leave(run, "evaluate", figures={"verdict": "kept"})
    leave(run, "publish", counts={"rows": 7})
    judged(run, verdict="kept")

    page = made(run)

    assert "The new encoder was kept out" in page.words
    assert "It is too weak." in page.words


def test_a_night_without_training_shows_the_accepted_encoders_pictures(nights):
    first = nights.begin("2026-01-01")
    judged(first)
    pointer.accept(nights.lake, "space-two", first)

    page = made(nights.begin("2026-01-02"))

    assert "No encoder was judged tonight; these are of run 2026-01-01-1" in page.words
    assert page.all("img")


def test_rejections_of_a_night_that_failed_are_read_beside_its_shards(nights):
    from pipelines.engine.screening import ENTRY_SCHEMA
    from pipelines.lake import ranges, shards

    run = nights.begin("2026-01-01")
    row = dict.fromkeys(shards.INVENTORY_SCHEMA.names)
    row |= {"source_uri": "/src/a.png", "outcome": "rejected", "reason": "truncated"}
    rows = shards.INVENTORY_SCHEMA.empty_table().from_pylist(
        [row], shards.INVENTORY_SCHEMA
    )
    folder = run.lake.shards(run.image_spec_id, run.night)
    shards.write_inventory(f"{folder}/abc.parquet", shards.Inventory(rows, 0, 0))
    ranges.write(run.path("due.arrow"), ENTRY_SCHEMA.empty_table())

    page = made(run)

    assert "1 rejected" in page.words
    assert "/src/a.png" in page.words


def test_a_full_disk_is_not_hidden(nights, monkeypatch):
    def full(path, data):
        raise OutOfSpace("the disk is full")

    monkeypatch.setattr(store, "write_bytes", full)

    with pytest.raises(OutOfSpace):
        report.run(nights.begin("2026-01-01"), [])


def test_manifests_are_shown_whole(nights):
    run = nights.begin("2026-01-01")
    leave(run, "encode", figures={"images_per_s": 9100.0})

    page = made(run)

    assert json.dumps({"images_per_s": 9100.0})[1:-1] in page.words
    assert "9,100" in page.words


def _raw(run):
    return store.read_bytes(run.path(report.NAME)).decode()
