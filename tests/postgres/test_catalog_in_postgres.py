import os
import subprocess

import postgres_server
import pytest
from pyiceberg.catalog import load_catalog

from pipelines.commands import release, rollback, status
from pipelines.errors import ArtifactMismatch, ConfigError, Unreachable
from pipelines.lake import branches, pointer, tables
from pipelines.lake.catalog import VARIABLE, open_catalog
from pipelines.lake.layout import Lake
from pipelines.stages import publish

FIRST = {"/src/a": "cat", "/src/b": "dog"}
ENSURE = """
import sys
from pipelines.lake import tables
from pipelines.lake.layout import Lake
print("ready", flush=True)
sys.stdin.readline()
tables.ensure(Lake(*sys.argv[1:]))
print(tables.main_ids(Lake(*sys.argv[1:])), flush=True)
"""


def test_the_commands_work_with_a_catalog_in_postgres(nights, capsys):
    publish.run(nights.night("2026-01-01", FIRST), [])
    publish.run(nights.night("2026-01-02", {"/src/c": "cow"}), [])

    assert rollback.run(nights.lake.root, "digits") == 0
    assert len(nights.rows("image_id")) == 2
    assert release.run(nights.lake.root, "digits") == 0
    publish.run(nights.night("2026-01-03", {"/src/c": "cow"}), [])
    assert status.run(nights.lake.root, "digits") == 0

    assert len(nights.rows("image_id")) == 3
    assert "2026-01-03" in capsys.readouterr().out
    assert not os.path.exists(nights.lake.catalog_file)


def test_two_lakes_share_a_catalog_where_their_datasets_have_other_names(
    nights, tmp_path
):
    publish.run(nights.night("2026-01-01", FIRST), [])

    tables.ensure(Lake(str(tmp_path / "other"), "birds"))

    assert len(nights.rows("image_id")) == 2


@pytest.mark.parametrize("use", [tables.ensure, tables.main_ids])
def test_two_lakes_with_one_dataset_s_name_are_kept_apart_by_name(
    nights, tmp_path, use
):
    publish.run(nights.night("2026-01-01", FIRST), [])
    other = Lake(str(tmp_path / "other"), "digits")

    with pytest.raises(ConfigError, match="Two lakes cannot share") as refused:
        use(other)

    assert f"of the lake {nights.lake.root}, not of {other.root}" in str(refused.value)
    assert not os.path.exists(other.warehouse)


def test_a_table_whose_lake_this_machine_does_not_see_is_explained(nights):
    publish.run(nights.night("2026-01-01", FIRST), [])
    os.rename(nights.lake.root, f"{nights.lake.root}-unmounted")

    with pytest.raises(ArtifactMismatch, match="of another lake, which this machine"):
        tables.main_ids(nights.lake)


def test_a_lake_is_the_same_by_a_link_to_it(nights, tmp_path):
    publish.run(nights.night("2026-01-01", FIRST), [])
    (tmp_path / "link").symlink_to(nights.lake.root)

    found = tables.main_ids(Lake(str(tmp_path / "link"), "digits"))

    assert found == tables.main_ids(nights.lake)


def test_processes_that_make_one_catalog_s_tables_at_once_all_go_on(
    catalog, tmp_path, child
):
    same = [child(ENSURE, str(tmp_path), "digits") for _ in range(2)]
    others = [child(ENSURE, str(tmp_path), "birds")]
    for one in same + others:
        assert one.stdout.readline() == "ready\n"
    for one in same + others:
        one.stdin.write("go\n")
        one.stdin.flush()

    said = [one.communicate(timeout=120)[0] for one in same + others]

    assert [one.returncode for one in same + others] == [0] * 3
    assert all(words.startswith("Bases(images=") for words in said)
    assert not any("None" in words for words in said)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda uri, pg: uri.replace(pg.password, "geheim"), "password authentication"),
        (lambda uri, pg: uri.rsplit("/", 1)[0] + "/ghost", '"ghost" does not exist'),
    ],
)
def test_a_postgres_that_refuses_us_is_a_setting_to_mend(
    server, catalog, tmp_path, monkeypatch, change, words
):
    monkeypatch.setenv(VARIABLE, change(catalog, server))

    with pytest.raises(ConfigError, match=words) as refused:
        open_catalog(Lake(str(tmp_path), "digits"))

    assert "geheim" not in str(refused.value)
    assert server.password not in str(refused.value)


def test_the_short_scheme_that_many_tools_print_is_taken(
    catalog, tmp_path, monkeypatch
):
    monkeypatch.setenv(VARIABLE, catalog.replace("postgresql+psycopg2", "postgres"))

    tables.ensure(Lake(str(tmp_path), "digits"))


def test_a_postgres_that_is_down_is_an_accident(server, nights):
    publish.run(nights.night("2026-01-01", FIRST), [])
    server.stop()
    try:
        with pytest.raises(Unreachable, match="is not reached, or was lost") as said:
            tables.main_ids(nights.lake)
        assert said.value.exit_code == 1
        assert server.password not in str(said.value)
    finally:
        server.start()


def test_a_restart_between_two_commands_is_not_noticed(server, nights):
    publish.run(nights.night("2026-01-01", FIRST), [])

    server.stop()
    server.start()
    publish.run(nights.night("2026-01-02", {"/src/c": "cow"}), [])

    assert len(nights.rows("image_id")) == 3


SLOW = pytest.mark.slow
COMMITS = [*(pytest.param(n, marks=SLOW) for n in range(1, 5)), 5, 6]
"""Of a publish: for each table a new branch and its rows, then both moves."""


@pytest.mark.parametrize("landed", [False, True])
@pytest.mark.parametrize("number", COMMITS)
def test_a_server_lost_in_any_commit_is_an_accident_that_a_retry_makes_good(
    server, nights, monkeypatch, number, landed
):
    run = nights.night("2026-01-01", FIRST)
    dialect = open_catalog(nights.lake).engine.dialect
    commit = dialect.do_commit
    commits = []

    def commit_while_the_server_is_lost(connection):
        commits.append(connection)
        if len(commits) != number:
            return commit(connection)
        if landed:
            commit(connection)
        server.stop(crash=True)
        server.start()
        connection.cursor().execute("SELECT 1")  # of a connection that is no more
        raise AssertionError("the server was not lost")

    with monkeypatch.context() as patched:
        patched.setattr(dialect, "do_commit", commit_while_the_server_is_lost)
        with pytest.raises(Unreachable):
            publish.run(run, [])
    assert len(commits) >= number

    publish.run(run, [])

    assert len(nights.rows("image_id")) == 2
    for one in tables.NAMES:
        table = tables.load(nights.lake, one)
        assert set(table.metadata.refs) == {"main"}
        assert len(list(branches.lineage(table))) == 2


def test_a_server_lost_before_the_move_moves_nothing(server, nights, monkeypatch):
    run = nights.night("2026-01-01", FIRST)
    before = tables.main_ids(nights.lake)
    check = publish.checks.check_features

    def check_then_restart(*arguments):
        check(*arguments)
        server.stop(crash=True)
        server.start()

    monkeypatch.setattr(publish.checks, "check_features", check_then_restart)
    with pytest.raises(Unreachable, match="run the same command again"):
        publish.run(run, [])
    assert tables.main_ids(nights.lake) == before

    monkeypatch.setattr(publish.checks, "check_features", check)
    publish.run(run, [])

    assert len(nights.rows("image_id")) == 2
    assert pointer.read(nights.lake).space_id == "space-one"


def test_a_dump_brings_back_what_stood_and_the_next_night_the_rest(
    server, catalog, nights, tmp_path
):
    publish.run(nights.night("2026-01-01", FIRST), [])
    plain = catalog.replace("+psycopg2", "")
    tools = postgres_server.programs()
    dump = ["--format=custom", f"--file={tmp_path}/dump", plain]
    subprocess.run([tools / "pg_dump", *dump], check=True)
    publish.run(nights.night("2026-01-02", {"/src/c": "cow"}), [])

    back = ["--clean", "--if-exists", f"--dbname={plain}", f"{tmp_path}/dump"]
    subprocess.run([tools / "pg_restore", *back], check=True)

    assert len(nights.rows("image_id")) == 2
    publish.run(nights.night("2026-01-03", {"/src/c": "cow"}), [])
    assert len(nights.rows("image_id")) == 3


def test_a_lake_moves_from_sqlite_by_registering_its_tables(
    catalog, nights, monkeypatch
):
    monkeypatch.delenv(VARIABLE)
    publish.run(nights.night("2026-01-01", FIRST), [])
    monkeypatch.setenv(VARIABLE, catalog)
    old = f"sqlite:///{nights.lake.catalog_file}"
    one, two = (load_catalog("latentlake", type="sql", uri=u) for u in (old, catalog))
    two.create_namespace_if_not_exists("digits")
    for name in ("digits.images", "digits.features"):
        two.register_table(name, one.load_table(name).metadata_location)

    publish.run(nights.night("2026-01-02", {"/src/c": "cow"}), [])

    assert len(nights.rows("image_id")) == 3
