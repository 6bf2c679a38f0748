import datetime
import hashlib

import pyarrow as pa
import pytest

from pipelines.config import SplitSettings
from pipelines.lake.shards import INVENTORY_SCHEMA
from pipelines.lake.succession import Resolved, resolve, split_of, split_sql
from pipelines.lake.tables import IMAGES_SCHEMA

SPLIT = SplitSettings(eval_fraction=0.5)


def digest(content):
    return hashlib.sha256(content.encode()).hexdigest()


def seen(uri, content, **fields):
    """One row of tonight: decoded, unless ``fields`` say otherwise."""
    row = dict.fromkeys(INVENTORY_SCHEMA.names)
    row |= {
        "source_uri": uri,
        "image_id": digest(content),
        "outcome": "decoded",
        "width": 9,
        "height": 8,
        "format": "png",
        "bytes": 5,
        "shard": f"spec/{content}.tfrecord",
        "row": 0,
    }
    return row | fields


def known(uri, content, **fields):
    return (
        seen(uri, content, outcome="known", shard=None, row=None, width=None) | fields
    )


def rejected(uri, **fields):
    gone = {"image_id": None, "shard": None, "row": None, "width": None}
    return seen(uri, "", outcome="rejected", reason="empty", **gone) | fields


def weigh(base, rows, gone=(), night="2026-01-01", split=SPLIT) -> Resolved:
    tonight = pa.Table.from_pylist(list(rows), INVENTORY_SCHEMA)
    date = datetime.date.fromisoformat(night)
    return resolve(base, tonight, gone, night=date, run_id=f"{night}-1", split=split)


def put(base, rows):
    """The table ``base`` with ``rows`` put into it."""
    uris = set(rows["source_uri"].to_pylist())
    kept = [row for row in base.to_pylist() if row["source_uri"] not in uris]
    return pa.Table.from_pylist(kept + rows.to_pylist(), IMAGES_SCHEMA)


def after(*nights):
    """The image table after ``nights``: each a list of rows, or (rows, gone)."""
    table = IMAGES_SCHEMA.empty_table()
    for number, night in enumerate(nights, start=1):
        rows, gone = night if isinstance(night, tuple) else (night, ())
        found = weigh(table, rows, gone, night=f"2026-01-0{number}")
        table = put(table, found.rows)
    return {row["source_uri"]: row for row in table.to_pylist()}


def statuses(rows):
    return {uri: row["status"] for uri, row in rows.items()}


def table_of(rows):
    return pa.Table.from_pylist(list(rows.values()), IMAGES_SCHEMA)


def test_the_same_bytes_twice_are_one_image_that_the_smallest_uri_speaks_for():
    rows = after([seen("b", "cat"), seen("a", "cat"), seen("c", "dog")])

    assert statuses(rows) == {"a": "accepted", "b": "duplicate", "c": "accepted"}
    assert rows["b"]["shard"] == rows["a"]["shard"]


def test_the_earliest_night_speaks_before_the_smallest_uri():
    rows = after([seen("z", "cat")], [known("a", "cat")])

    assert statuses(rows) == {"z": "accepted", "a": "duplicate"}
    assert rows["a"]["night"] == datetime.date(2026, 1, 2)


def test_when_the_speaker_goes_the_next_one_inherits_shard_row_and_night():
    rows = after([seen("a", "cat", row=7)], [known("b", "cat")], ([], ["a"]))

    assert statuses(rows) == {"a": "gone", "b": "accepted"}
    assert rows["a"]["gone_night"] == datetime.date(2026, 1, 3)
    assert (rows["b"]["row"], rows["b"]["night"]) == (7, datetime.date(2026, 1, 1))


def test_when_the_bytes_of_the_speaker_change_the_next_one_speaks():
    rows = after([seen("a", "cat"), seen("b", "cat")], [seen("a", "dog")])

    assert statuses(rows) == {"a": "accepted", "b": "accepted"}
    assert rows["a"]["image_id"] == digest("dog")
    assert rows["b"]["shard"] == "spec/cat.tfrecord"


def test_an_entry_that_comes_back_is_a_duplicate_of_the_one_that_succeeded_it():
    rows = after([seen("a", "cat"), seen("b", "cat")], ([], ["a"]), [known("a", "cat")])

    assert statuses(rows) == {"a": "duplicate", "b": "accepted"}
    assert rows["a"]["gone_night"] is None


def test_an_image_that_comes_back_alone_keeps_its_first_night_and_its_shard():
    rows = after([seen("a", "cat")], ([], ["a"]), [known("a", "cat")])

    assert statuses(rows) == {"a": "accepted"}
    assert (rows["a"]["night"], rows["a"]["shard"]) == (
        datetime.date(2026, 1, 1),
        "spec/cat.tfrecord",
    )


def test_a_touched_entry_counts_as_touched_and_its_row_is_refreshed():
    base = table_of(after([seen("a", "cat", modified=1)]))

    found = weigh(base, [known("a", "cat", modified=2)], night="2026-01-02")

    assert found.counts["touched"] == 1
    assert found.counts["accepted"] == 0
    assert found.rows["modified"].cast("int64").to_pylist() == [2]
    assert found.rows["night"].to_pylist() == [datetime.date(2026, 1, 1)]
    assert found.rows["width"].to_pylist() == [9]


def test_a_row_holds_a_date_and_an_instant():
    (row,) = after([seen("a", "cat", modified=1_700_000_000_000_007)]).values()

    assert row["night"] == datetime.date(2026, 1, 1)
    assert row["modified"].isoformat() == "2023-11-14T22:13:20.000007+00:00"


def test_another_label_on_the_same_bytes_is_not_merely_touched():
    base = table_of(after([seen("a", "cat", label="x")]))

    found = weigh(base, [known("a", "cat", label="y")], night="2026-01-02")

    assert (found.counts["touched"], found.counts["accepted"]) == (0, 1)
    assert found.rows["label"].to_pylist() == ["y"]


def test_entries_of_one_image_that_disagree_are_counted():
    found = weigh(
        IMAGES_SCHEMA.empty_table(),
        [
            seen("a", "cat", label="x", split="train"),
            seen("b", "cat", label="y", split="eval"),
            seen("c", "dog", label="x"),
            seen("d", "dog"),
        ],
    )

    assert found.counts["label_conflicts"] == 1
    assert found.counts["split_conflicts"] >= 1


def test_each_listed_entry_is_counted_once():
    base = table_of(after([seen("a", "cat"), seen("g", "gnu"), seen("h", "hen")]))
    rows = [known("a", "cat", modified=2), known("b", "cat"), seen("c", "dog")]

    found = weigh(base, [*rows, rejected("d")], ["g"], night="2026-01-02")

    wanted = {"accepted": 1, "duplicate": 1, "rejected": 1, "touched": 1, "gone": 1}
    assert {name: found.counts[name] for name in wanted} == wanted


def test_a_rejected_entry_has_no_shard_and_keeps_its_reason_when_it_goes():
    rows = after([rejected("a")], ([], ["a"]))

    assert rows["a"]["status"] == "gone"
    assert rows["a"]["reason"] == "empty"
    assert rows["a"]["shard"] is None


def test_the_same_night_weighed_again_changes_nothing():
    rows = [seen("a", "cat"), seen("b", "cat"), rejected("c"), seen("d", "dog")]
    base = table_of(after([seen("d", "cow"), seen("e", "cat")]))
    once = put(base, weigh(base, rows, ["e"], night="2026-01-02").rows)

    again = weigh(once, rows, ["e"], night="2026-01-02")

    assert again.rows.num_rows == 0


def test_an_image_decoded_anew_moves_to_its_new_shard_in_all_its_entries():
    rows = after(
        [seen("a", "cat"), seen("b", "cat")], [seen("b", "cat", shard="new/x", row=3)]
    )

    assert {(row["shard"], row["row"]) for row in rows.values()} == {("new/x", 3)}


@pytest.mark.parametrize("seed", [0, 1])
def test_the_split_in_sql_is_the_split_in_python(seed):
    split = SplitSettings(eval_fraction=0.25, seed=seed)
    ids = [digest(str(number)) for number in range(2000)]
    import duckdb

    query = f"SELECT {split_sql(split, 'image_id')} FROM unnest($1) AS t(image_id)"
    found = [row[0] for row in duckdb.execute(query, [ids]).fetchall()]

    assert found == [split_of(one, split) for one in ids]
    assert 400 < found.count("eval") < 600


def test_another_seed_holds_out_other_images():
    ids = [digest(str(number)) for number in range(100)]

    one, two = (
        [split_of(i, SplitSettings(eval_fraction=0.5, seed=s)) for i in ids]
        for s in (0, 1)
    )

    assert one != two
