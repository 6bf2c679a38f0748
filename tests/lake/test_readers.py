"""The code of docs/table-contract.md, run as it stands on a small lake."""

import json
import pathlib
import re
import typing

import pyarrow as pa
import pytest

from pipelines import records
from pipelines.commands import release, rollback
from pipelines.lake import branches, tables
from pipelines.stages import publish

DOC = pathlib.Path(__file__).parents[2] / "docs" / "table-contract.md"
TEXT = DOC.read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"^```python (\w+)\n(.*?)^```", TEXT, re.S | re.M))
COLUMNS = ["image_id", "label", "split", "latent"]
READERS = {
    "duckdb": lambda names: _of_duckdb(names["db"]),
    "duckdb_iceberg": lambda names: _of_duckdb(names["db"]),
    "pandas": lambda names: pa.Table.from_pandas(names["frame"]),
    "polars": lambda names: names["frame"].to_arrow(),
    "arrow": lambda names: names["table"],
}
MATRICES = ("pandas", "polars", "arrow")
TYPES = {
    "string": pa.string(),
    "int": pa.int32(),
    "long": pa.int64(),
    "date": pa.date32(),
    "timestamptz": pa.timestamp("us", tz="UTC"),
    "float": pa.float32(),
    "list&lt;float&gt;": tables.FEATURES_SCHEMA.field("latent").type,
}


def build(nights):
    """Publish nights that add images, relabel one, lose one, and give one no label."""
    publish.run(nights.night("2026-01-01", {"/src/a": "cat", "/src/b": "dog"}), [])
    entries = {"/src/a": "cat", "/src/c": "cow", "/src/d": ""}
    publish.run(nights.night("2026-01-02", entries, label="x", gone=("/src/b",)), [])
    publish.run(nights.night("2026-01-03", {"/src/e": "emu"}), [])
    return nights.lake


@pytest.fixture(scope="module")
def built():
    return []


@pytest.fixture
def standing(nights, built, tmp_path_factory):
    """A lake that no test changes: built once, it takes seconds."""
    if not built:
        shared = type(nights)(tmp_path_factory.mktemp("readers") / "lake")
        shared.accept("space-one")
        built.append(build(shared))
    return built[0]


@pytest.fixture
def lake(nights):
    """A lake of the test's own, to change."""
    return build(nights)


def run_blocks(lake, *labels, **constants):
    """Run blocks of the page, with other values for its constants; return its names."""
    constants |= {"LAKE": lake.root, "DATASET": lake.dataset}
    names = {}
    for label in labels:
        code = BLOCKS[label]
        for name, value in constants.items():
            code = re.sub(rf"^{name} = .*$", f"{name} = {value!r}", code, flags=re.M)
        exec(compile(code, f"{DOC.name}: {label}", "exec"), names)
    return names


def read_by_all(lake):
    """Return the rows that each reader finds."""
    found = {}
    for reader, table_of in READERS.items():
        labels = [reader] if reader == "duckdb_iceberg" else ["open", reader]
        found[reader] = _listed(table_of(run_blocks(lake, *labels)))
    return found


def published(lake, snapshot=None):
    snapshot = snapshot or tables.main_ids(lake).features
    return _listed(tables.read_features(lake, snapshot))


def _of_duckdb(db):
    return db.sql("FROM features").to_arrow_table()


def _listed(table):
    return table.select(COLUMNS).sort_by("image_id").to_pylist()


def _history(lake):
    return [entry.snapshot_id for entry in tables.load(lake, "features").history()]


def test_every_reader_sees_the_rows_that_were_published(standing):
    found = read_by_all(standing)

    assert {row["label"] for row in found["arrow"]} == {"x", None}
    assert found == dict.fromkeys(READERS, published(standing))


def test_every_reader_sees_the_older_rows_after_a_rollback(lake):
    rollback.run(lake.root, lake.dataset, to_snapshot=_history(lake)[1])

    found = read_by_all(lake)

    assert len(found["arrow"]) == 2
    assert found == dict.fromkeys(READERS, published(lake, _history(lake)[1]))


def test_no_reader_sees_a_draft(lake):
    table = tables.load(lake, "features")
    main = tables.main_id(table)
    files = [file for file, _ in tables.parts(table, main, ["image_id"])]
    change = branches.Change([], files, {})
    draft = branches.build(lake, "features", "audit_1", main, change)
    assert published(lake, draft.snapshot) == []

    assert read_by_all(lake) == dict.fromkeys(READERS, published(lake, main))


@pytest.mark.parametrize("reader", MATRICES)
def test_latents_become_one_matrix_of_float32(reader, standing):
    latents = run_blocks(standing, "open", reader)["latents"]

    assert (latents.dtype.name, latents.shape) == ("float32", (3, 4))


def test_history_lists_what_was_published(standing, capsys):
    run_blocks(standing, "open")

    nights = [line.split()[1:] for line in capsys.readouterr().out.splitlines()]
    assert nights == [
        ["None", "None", "0"],
        ["2026-01-01", "space-one", "2"],
        ["2026-01-02", "space-one", "2"],
        ["2026-01-03", "space-one", "3"],
    ]


def test_a_pinned_version_keeps_its_rows(standing):
    pinned = _history(standing)[1]

    names = run_blocks(standing, "open", "pin", PINNED=pinned)

    assert _listed(names["same_rows_every_time"]) == published(standing, pinned)


def test_the_join_finds_the_entry_of_each_image(standing):
    names = run_blocks(standing, "open", "join")

    joined = names["db"].sql(
        "SELECT status, f.split = i.split FROM f JOIN i USING (source_uri)"
    )
    assert joined.fetchall() == [("accepted", True)] * 3


def test_new_nights_are_read_alone(standing):
    names = run_blocks(standing, "open", "new_nights", LAST_NIGHT="2026-01-02")

    assert names["new"]["source_uri"].to_pylist() == ["/src/e"]


@pytest.mark.parametrize("seen", range(4))
def test_catching_up_from_any_version_gives_the_version_of_today(standing, seen):
    assert _caught_up(standing, _history(standing)[seen]) == published(standing)


def test_catching_up_takes_only_what_changed(standing):
    names = run_blocks(standing, "open", "changes", SEEN=_history(standing)[1])

    assert sorted(names["rows"]["source_uri"].to_pylist()) == [
        "/src/a",
        "/src/c",
        "/src/e",
    ]
    assert len(names["gone"]) == 1


def test_catching_up_holds_through_a_rollback(lake):
    last = _history(lake)[-1]
    rollback.run(lake.root, lake.dataset)

    assert _caught_up(lake, last) == published(lake)


def test_catching_up_holds_through_a_new_space(nights, lake):
    last = _history(lake)[-1]
    nights.accept("space-two")
    publish.run(nights.night("2026-01-04", {}), [])

    names = run_blocks(lake, "open", "changes", SEEN=last)

    assert set(names["rows"]["space_id"].to_pylist()) == {"space-two"}
    assert _caught_up(lake, last) == published(lake)


def _caught_up(lake, seen):
    """Return what someone has who had the rows of ``seen`` and caught up."""
    names = run_blocks(lake, "open", "changes", SEEN=seen)
    mine = {row["image_id"]: row for row in published(lake, seen)}
    mine |= {row["image_id"]: row for row in _listed(names["rows"])}
    return [mine[key] for key in sorted(mine) if key not in names["gone"]]


def test_nearest_images_begin_with_the_image_itself(standing, capsys):
    run_blocks(standing, "open", "nearest")

    first = capsys.readouterr().out.splitlines()[4]
    assert first.startswith(published(standing)[0]["image_id"][:8])
    assert first.endswith(" 1.0")


def test_a_hold_is_seen_until_it_is_released(lake, capsys):
    def seen():
        run_blocks(lake, "open", "held")
        return capsys.readouterr().out.splitlines()[-1]

    assert seen() == "not held"
    rollback.run(lake.root, lake.dataset)
    assert list(json.loads(seen())) == ["reason"]
    release.run(lake.root, lake.dataset)
    assert seen() == "not held"


@pytest.mark.parametrize("name", tables.NAMES)
def test_the_page_lists_the_columns_as_the_table_has_them(name):
    section = TEXT.split(f"### `digits.{name}`")[1].split("\n## ")[0].split("\n### ")[0]
    listed = []
    for names, kind, null in re.findall(
        r"^\| (`.+?) \| (\S+) \| (yes|no) \|", section, re.M
    ):
        kinds = TYPES[kind], null == "yes"
        listed += [(column, *kinds) for column in re.findall(r"`(\w+)`", names)]

    wanted = [(f.name, f.type, f.nullable) for f in tables.SCHEMAS[name]]
    assert listed == wanted


def test_the_page_lists_every_status_and_every_reason():
    status = re.findall(r"`(\w+)`:", _line("status"))
    reasons = re.findall(r"`(\w+)`", _line("reason").rsplit("|", 2)[0])[1:]

    assert tuple(status) == typing.get_args(records.Status)
    assert tuple(reasons) == records.REASONS


def _line(column):
    (line,) = re.findall(rf"^\| `{column}` \|.*$", TEXT, re.M)
    return line


def test_the_page_names_no_place_of_the_machine_it_was_tried_on():
    assert not re.search(r"/(?:work|tmp|root|home)/", TEXT)
