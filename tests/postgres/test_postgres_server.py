import os
import signal
import subprocess
import sys
import tempfile

import postgres_server
import psutil
import psycopg2
import pytest

pytestmark = pytest.mark.usefixtures("server")


def processes(folder):
    return [
        one
        for one in psutil.process_iter(["cmdline"])
        if str(folder) in " ".join(one.info["cmdline"] or [])
    ]


def test_a_server_keeps_its_data_over_a_restart_and_leaves_no_process():
    with postgres_server.serving() as pg:
        pg.create("here")
        pg.ask("CREATE TABLE kept AS SELECT 7 AS n", database="here")

        pg.stop()
        with pytest.raises(psycopg2.OperationalError):
            pg.ask("SELECT 1")
        pg.start()

        assert pg.ask("SELECT n FROM kept", database="here") == [(7,)]
        folder = pg.folder

    assert processes(folder) == []
    assert not folder.exists()


def test_a_wrong_password_does_not_open_it(server):
    uri = server.uri("postgres", driver="").replace(server.password, "guess")

    with pytest.raises(psycopg2.OperationalError, match="authentication failed"):
        psycopg2.connect(uri)


def test_it_refuses_to_be_root_but_runs_for_root(server):
    (found, *_) = processes(server.folder)

    assert found.username() == ("postgres" if os.getuid() == 0 else found.username())
    assert found.uids().real != 0


def test_the_program_says_what_to_export_hides_the_password_and_ends(server):
    with tempfile.TemporaryDirectory(prefix="latentlake-") as folder:
        os.chmod(folder, 0o755)  # the account that runs the server enters it
        program = subprocess.Popen(
            [sys.executable, postgres_server.__file__, "--folder", f"{folder}/pg"],
            env=os.environ | {"PYTHONSAFEPATH": ""},  # it finds its neighbours
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            said = ""
            for line in program.stdout:
                said += line
                if "Ctrl-C" in line:
                    break
            file = f"{folder}/pg/environment"
            command = f"set -a; . {file}; exec printenv LATENTLAKE_CATALOG"
            uri = subprocess.check_output(["sh", "-c", command], text=True).strip()
            psycopg2.connect(uri.replace("+psycopg2", "")).close()
            assert file in said
            assert uri.split(":")[2].split("@")[0] not in said
            assert os.stat(file).st_mode & 0o077 == 0
        finally:
            program.send_signal(signal.SIGINT)
            program.communicate(timeout=60)

        assert program.returncode == 0
        assert processes(folder) == []


def test_without_the_programs_it_says_how_to_install_them(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(postgres_server, "DEBIAN", tmp_path)

    with pytest.raises(postgres_server.PostgresMissing, match="apt-get install"):
        postgres_server.programs()


def test_a_server_that_does_not_come_up_says_its_own_last_words():
    with (
        pytest.raises(postgres_server.PostgresFailed, match="max_connections"),
        postgres_server.serving(settings={"max_connections": "many"}),
    ):
        pass


@pytest.mark.parametrize(
    "names", [("photo.jpg",), ("password", "photo.jpg"), ("data",)]
)
def test_a_folder_of_something_else_is_refused_and_left_as_it_is(tmp_path, names):
    folder = tmp_path / "mine"
    folder.mkdir(mode=0o755)
    for name in names:
        (folder / name).write_text("x")
    before = folder.stat()

    with (
        pytest.raises(postgres_server.PostgresFailed, match="holds something else"),
        postgres_server.serving(folder),
    ):
        pass

    after = folder.stat()
    assert (after.st_mode, after.st_uid) == (before.st_mode, before.st_uid)
    assert sorted(os.listdir(folder)) == sorted(names)
