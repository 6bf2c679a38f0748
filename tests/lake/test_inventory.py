import dataclasses

import pyarrow as pa
import pytest

from pipelines.config import Settings
from pipelines.engine.screening import ENTRY_SCHEMA
from pipelines.errors import BadNight, ConfigError
from pipelines.lake import inventory
from pipelines.records import Entry
from pipelines.stages import publish

FIRST = {"/src/a": "cat", "/src/b": "cat", "/src/c": "dog", "/src/d": ""}


def listing(*uris, **fields):
    entries = [Entry(uri, container=uri, **fields)._asdict() for uri in uris]
    return pa.Table.from_pylist(entries, ENTRY_SCHEMA)


def was(found):
    return dict(
        zip(
            found.due["source_uri"].to_pylist(),
            found.due["was"].to_pylist(),
            strict=True,
        )
    )


@pytest.fixture
def second(nights):
    """A second night, begun after the first was published."""
    publish.run(nights.night("2026-01-01", FIRST, modified=1), [])
    return nights.begin("2026-01-02")


def test_new_changed_known_and_gone_entries_are_told_apart(second):
    seen = pa.concat_tables(
        [
            listing("/src/a", "/src/d", modified=1),
            listing("/src/b", modified=2),
            listing("/src/e"),
        ]
    )

    found = inventory.diff(second, seen, ["/src"])

    assert was(found) == {"/src/b": "changed", "/src/e": "new"}
    assert found.gone["source_uri"].to_pylist() == ["/src/c"]
    assert found.counts == {
        "listed": 4,
        "new": 1,
        "changed": 1,
        "known": 2,
        "gone": 1,
    }
    assert len(found.known_ids) == 2


def test_absence_is_judged_only_below_the_roots(second):
    found = inventory.diff(second, listing("/other/a"), ["/other", "/sr"])

    assert found.counts["gone"] == 0


def test_another_label_makes_an_entry_changed(second):
    seen = listing("/src/a", "/src/b", "/src/c", "/src/d", modified=1, label="x")

    assert inventory.diff(second, seen, ["/src"]).counts["changed"] == 4


def test_an_entry_that_was_gone_is_new_again(nights, second):
    nights.ingest(second, {}, gone=("/src/c",))
    nights.encode(second)
    publish.run(second, [])
    third = nights.begin("2026-01-03")

    found = inventory.diff(third, listing("/src/c", modified=1), ["/src/c"])

    assert was(found) == {"/src/c": "new"}
    assert len(found.known_ids) == 2


def test_an_entry_listed_twice_is_refused_by_name(second):
    with pytest.raises(BadNight, match="/src/a: the source lists this entry 2 times"):
        inventory.diff(second, listing("/src/a", "/src/a"), ["/src"])


def other_spec(run):
    value = {"source": {"path": "/src"}, "image": {"height": 96}}
    return dataclasses.replace(run, settings=Settings.model_validate(value))


def test_a_changed_image_spec_makes_every_entry_due_and_no_bytes_known(second):
    run = other_spec(second)
    seen = listing("/src/a", "/src/b", "/src/c", "/src/d", modified=1)

    found = inventory.diff(run, seen, ["/src"])

    assert found.counts["changed"] == 4
    assert len(found.known_ids) == 0


def test_a_changed_image_spec_is_refused_for_a_part_of_the_corpus(second):
    with pytest.raises(ConfigError, match="4 entries lie outside the source"):
        inventory.diff(other_spec(second), listing("/other/a"), ["/other"])


@pytest.mark.parametrize(
    ("uri", "covered"),
    [
        ("/a", True),
        ("/a/x", True),
        ("/a-b/x", False),
        ("/a.tar#m", False),
        ("/b.tar#m", True),
        ("/b.tar2#m", False),
        ("/c/x", True),
        ("/c", False),
        ("/", False),
    ],
)
def test_a_root_covers_itself_and_what_follows_behind_a_mark(uri, covered):
    roots = ["/a", "/a/deep", "/a-z", "/b.tar", "/c/"]

    found = inventory.below(pa.chunked_array([[uri]], pa.string()), roots)

    assert found.to_pylist() == [covered]


def test_the_corpus_is_the_base_with_tonight_applied_by_shard_and_row(nights, second):
    nights.ingest(second, {"/src/c": "cow", "/src/e": "emu"}, gone=("/src/a",))

    found = inventory.corpus(second)

    assert found.column_names == list(inventory.CORPUS_COLUMNS)
    assert set(found["source_uri"].to_pylist()) == {"/src/b", "/src/c", "/src/e"}
    places = list(
        zip(found["shard"].to_pylist(), found["row"].to_pylist(), strict=True)
    )
    assert places == sorted(places)


def test_what_became_of_the_night_is_kept_with_the_places_of_known_images(
    nights, second
):
    nights.ingest(second, {"/src/e": "dog"}, gone=("/src/a",))

    kept = inventory.read_tonight(second)

    assert kept.gone == ["/src/a"]
    (row,) = kept.rows.to_pylist()
    assert row["outcome"] == "known"
    assert row["shard"].startswith(second.image_spec_id)


def test_a_run_that_staged_nothing_has_the_corpus_of_its_base(second):
    assert inventory.read_tonight(second) is None
    assert inventory.corpus(second).num_rows == 2
