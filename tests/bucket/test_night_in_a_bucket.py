"""Whole nights with the lake in a bucket, as people run them, against local ones."""

import json
import os
import pathlib
import signal
import subprocess
import sys

import cv2
import duckdb
import numpy as np
import pytest
import s3_server
from pyiceberg.catalog import load_catalog

SETTINGS = """
[source]
path = "{source}"
[image]
height = 16
width = 16
[split]
eval_fraction = 0.3
[encoder]
preset = "conv"
latent_dim = 4
widths = [4]
[train]
epochs = 1
batch_size = 16
min_images = 10
[gate]
allow_small = true
min_gain = -100.0
knn_margin = 100.0
psnr_margin = 100.0
"""
MOST_S = 1200


def paint(folder, start, stop):
    """Write round and square shapes of every colour."""
    random = np.random.default_rng(start)
    for number in range(start, stop):
        label = ("round", "square")[number % 2]
        image = np.full((24, 24, 3), random.integers(0, 96, 3), np.uint8)
        colour = random.integers(128, 256, 3).tolist()
        x, y = random.integers(8, 16, 2).tolist()
        if label == "round":
            cv2.circle(image, (x, y), 6, colour, -1)
        else:
            cv2.rectangle(image, (x - 5, y - 5), (x + 5, y + 5), colour, -1)
        file = folder / label / f"{number:02}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(file), image)


class Home:
    """Images, a server that can be stopped, and everything that was said."""

    lake = "s3://nights/some/lake"

    def __init__(self, root, s3):
        self.root, self.s3 = root, s3
        self.said = []
        self.env = os.environ | s3.environment()
        self.env |= {
            "LATENTLAKE_DATASETS": str(root / "datasets"),
            "LATENTLAKE_CATALOG": f"sqlite:///{root}/catalog.db",
            "LATENTLAKE_CACHE": str(root / "cache"),
            "AWS_EC2_METADATA_DISABLED": "true",
            "AWS_CONFIG_FILE": str(root / "none"),
            "AWS_SHARED_CREDENTIALS_FILE": str(root / "none"),
        }

    def begin(self, *words, lake=lake, **env):
        """Return the process of a command."""
        where = ["--lake", lake] if lake else []
        return subprocess.Popen(
            [sys.executable, "-m", "pipelines", *words, *where],
            env=self.env | env,
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def ask(self, *words, lake=lake, **env):
        """Return the exit code of a command and what it said."""
        process = self.begin(*words, lake=lake, **env)
        said, _ = process.communicate(timeout=MOST_S)
        self.said.append(said)
        return process.returncode, said

    def local(self, *words):
        """Do the same with a lake on this disk."""
        catalog = f"sqlite:///{self.root}/local.db"
        lake = str(self.root / "lake")
        return self.ask(*words, lake=lake, LATENTLAKE_CATALOG=catalog)

    def content(self, path):
        """Return the bytes of an object."""
        name, _, key = path.removeprefix("s3://").partition("/")
        found = self.s3.client().get_object(Bucket=name, Key=key)
        return found["Body"].read()

    def table(self, name, catalog="catalog"):
        """Return a table of the bucket's lake, or of the local one, by PyIceberg."""
        given = {f"s3.{key}": value for key, value in self._keys().items()}
        uri = f"sqlite:///{self.root}/{catalog}.db"
        return load_catalog("latentlake", type="sql", uri=uri, **given).load_table(
            f"shapes.{name}"
        )

    def _keys(self):
        return {
            "endpoint": self.s3.endpoint,
            "access-key-id": self.s3.key,
            "secret-access-key": self.s3.secret,
            "region": s3_server.REGION,
        }


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """Return a home whose lake in the bucket, and on the disk, has seen one night."""
    root = tmp_path_factory.mktemp("home")
    paint(root / "shapes", 0, 38)
    (root / "shapes" / "round" / "empty.png").touch()
    (root / "shapes" / "square" / "words.png").write_text("no picture at all")
    (root / "datasets").mkdir()
    (root / "datasets" / "shapes.toml").write_text(
        SETTINGS.format(source=root / "shapes")
    )
    with s3_server.serving(root / "s3") as s3:
        s3.make_bucket("nights")
        made = Home(root, s3)
        for way in (made.ask, made.local):
            code, said = way("night", "shapes", "--night", "2026-03-09")
            assert code == 0, said
        yield made


def rows(table):
    found = table.scan().to_arrow().sort_by("source_uri")
    return found.select([name for name in found.column_names if name != "modified"])


def same(home):
    for name in ("images", "features"):
        far, near = rows(home.table(name)), rows(home.table(name, "local"))
        assert far.column_names == near.column_names
        assert far.to_pylist() == near.to_pylist()


pytestmark = pytest.mark.slow


def test_the_tables_of_a_bucket_equal_those_of_a_disk(home):
    same(home)
    assert home.table("features").scan().to_arrow().num_rows == 38
    assert home.table("features").location().startswith(Home.lake)


def test_duckdb_reads_the_table_of_a_bucket_over_arrow(home):
    features = home.table("features").scan().to_arrow()  # noqa: F841 - read by name

    found = duckdb.sql("SELECT label, count(*) FROM features GROUP BY 1 ORDER BY 1")

    assert found.fetchall() == [("round", 19), ("square", 19)]


def test_every_command_works_on_a_bucket(home):
    code, said = home.ask("status")
    assert (code, "published" in said, "38" in said) == (0, True, True), said
    for words in (("classify", "shapes"), ("report", "shapes")):
        code, said = home.ask(*words)
        assert code == 0, said
    code, said = home.ask("evaluate", "shapes", "--again")
    assert code == 0, said
    before = home.table("features").current_snapshot().snapshot_id
    assert home.ask("rollback", "shapes")[0] == 0
    assert home.table("features").current_snapshot().snapshot_id != before
    assert home.ask("rollback", "shapes", "--to-snapshot", str(before))[0] == 0
    assert home.ask("release", "shapes")[0] == 0
    assert home.table("features").current_snapshot().snapshot_id == before


def test_images_in_a_bucket_are_described_checked_and_screened(home):
    client = home.s3.client()
    home.s3.make_bucket("source")
    for file in (home.root / "shapes").rglob("*.png"):
        key = str(file.relative_to(home.root))
        client.put_object(Bucket="source", Key=key, Body=file.read_bytes())

    code, said = home.ask("init", "s3://source/shapes", "--name", "far", lake=None)
    assert code == 0, said
    code, said = home.ask("check", "far", lake=None)
    assert (code, "accepted" in said) == (0, True), said
    code, said = home.ask("ingest", "far", "--night", "2026-03-09")
    assert code == 0, said
    path = f"{Home.lake}/far/runs/2026-03-09-1/ingest.json"
    found = json.loads(home.content(path))["counts"]
    assert (found["listed"], found["accepted"], found["rejected"]) == (40, 38, 2)


def test_a_second_night_with_nothing_new_publishes_nothing(home):
    before = home.table("features").current_snapshot().snapshot_id

    code, said = home.ask("night", "shapes", "--night", "2026-03-10")

    assert code == 10, said
    assert home.table("features").current_snapshot().snapshot_id == before


def test_a_bucket_that_vanishes_stops_the_night_in_words_and_it_goes_on(home):
    if not home.s3.is_real:
        pytest.skip("moto's server forgets everything when it stops")
    paint(home.root / "shapes", 38, 42)
    before = home.table("features").current_snapshot().snapshot_id
    words = ("night", "shapes", "--night", "2026-03-11")

    for moment in (": 4 entries in", "── encode"):
        code, said = until(home, moment, *words)
        assert code == 1, said
        assert f"{home.s3.endpoint} does not answer" in said
        assert "Traceback" not in said
        home.s3.start()
        assert home.table("features").current_snapshot().snapshot_id == before

    code, said = home.ask(*words)

    assert code == 0, said
    assert "ingest: already done" in said
    assert home.local(*words)[0] == 0
    same(home)
    assert home.table("features").scan().to_arrow().num_rows == 42


def until(home, moment, *words):
    """Return how a command ends whose bucket vanishes once it says ``moment``."""
    process = home.begin(*words)
    lines = []
    for line in process.stdout:
        lines.append(line)
        if moment in line:
            break
    home.s3.stop(signal.SIGKILL)
    lines.append(process.communicate(timeout=MOST_S)[0])
    home.said.append("".join(lines))
    return process.returncode, home.said[-1]


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"AWS_ACCESS_KEY_ID": "nobody"}, "refuses the keys"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "the keys"),
        ({"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": ""}, "no keys to use"),
        ({"LATENTLAKE_CATALOG": ""}, "a bucket holds no SQLite catalog"),
        ({"LATENTLAKE_CATALOG": "sqlite:////no/such/folder/x.db"}, "does not open"),
    ],
)
def test_a_wrong_setting_is_said_in_words_and_retried_by_nobody(home, wrong, words):
    code, said = home.ask("night", "shapes", "--night", "2026-03-12", **wrong)

    assert code == 2, said
    assert words in said
    assert "Traceback" not in said


def test_a_lake_in_no_bucket_is_said_in_words(home):
    code, said = home.ask("night", "shapes", lake="s3://no-such-bucket/lake")

    assert (code, "no bucket 'no-such-bucket'" in said) == (2, True), said
    assert "Traceback" not in said


def test_keys_are_nowhere_in_the_lake_and_in_nothing_said(home):
    secrets = (home.s3.key.encode(), home.s3.secret.encode())
    files = [path for path in home.root.rglob("*") if path.is_file()]
    assert len(files) > 50

    for path in files:
        data = pathlib.Path(path).read_bytes()
        assert not any(secret in data for secret in secrets), path
    said = "".join(home.said).encode()
    assert not any(secret in said for secret in secrets)
