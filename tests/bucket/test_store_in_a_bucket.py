import os
import pathlib
import signal
import subprocess
import sys
import threading
import time

import pyarrow as pa
import pytest
import s3_server

from pipelines.errors import ConfigError, OutOfSpace, Unreachable
from pipelines.lake import bucket, folders, ranges, store


@pytest.fixture
def requests(monkeypatch):
    """Return the operations that are asked of the server from here on."""
    asked = []
    original = bucket.call

    def counting(path, do):
        def seen(fs, inner):
            fs.connect()
            fs.s3.meta.events.register(
                "before-call.s3",
                lambda model, **_: asked.append(model.name),
                unique_id="counted",
            )
            return do(fs, inner)

        return original(path, seen)

    monkeypatch.setattr(bucket, "call", counting)
    return asked


def test_files_are_written_read_named_and_deleted(lake_root):
    folder = f"{lake_root}/runs"
    store.write_json(f"{folder}/b/run.json", {"a": 1})
    with store.aside(f"{folder}/a.bin") as file:
        file.write(b"whole")

    assert store.read_json(f"{folder}/b/run.json") == {"a": 1}
    assert store.size(f"{folder}/a.bin") == 5
    assert store.names(folder) == ["a.bin", "b"]
    assert store.names(f"{folder}/missing") == []
    store.delete(f"{folder}/b")
    store.delete(f"{folder}/b")
    assert store.names(folder) == ["a.bin"]


def test_a_deleted_folder_takes_no_neighbour_with_it(lake_root):
    for name in ("run/x", "run-2/x", "run.json"):
        store.write_bytes(f"{lake_root}/{name}", b"1")

    store.delete(f"{lake_root}/run")

    assert store.names(lake_root) == ["run-2", "run.json"]


def test_what_another_process_writes_is_seen_at_once(lake_root, s3):
    assert not store.exists(f"{lake_root}/late")
    assert store.names(lake_root) == []

    name, _, prefix = lake_root.removeprefix("s3://").partition("/")
    s3.client().put_object(Bucket=name, Key=f"{prefix}/late", Body=b"1")

    assert store.exists(f"{lake_root}/late")
    assert store.names(lake_root) == ["late"]


def test_to_look_for_a_file_is_one_question_and_lists_nothing(lake_root, requests):
    store.write_bytes(f"{lake_root}/x", b"1")
    store.exists(f"{lake_root}/y")  # asks for the bucket, the first time
    requests.clear()

    assert store.exists(f"{lake_root}/x")
    assert not store.exists(f"{lake_root}/y")
    assert store.read_bytes(f"{lake_root}/x") == b"1"

    assert requests == ["HeadObject", "HeadObject", "GetObject"]


def test_a_missing_file_is_named(lake_root):
    with pytest.raises(FileNotFoundError, match="lake/nothing"):
        store.read_bytes(f"{lake_root}/nothing")


def test_a_large_file_goes_in_parts_and_comes_back(lake_root, tmp_path, requests):
    data = os.urandom(bucket.PART_BYTES) * 3 + b"tail"

    with store.aside(f"{lake_root}/large") as file:
        file.write(data)

    assert requests.count("UploadPart") == 4
    assert store.read_bytes(f"{lake_root}/large") == data
    store.fetch_file(f"{lake_root}/large", str(tmp_path / "large"))
    assert (tmp_path / "large").read_bytes() == data


def test_an_error_while_a_file_is_written_leaves_nothing(lake_root):
    with pytest.raises(ZeroDivisionError), store.aside(f"{lake_root}/x") as file:
        file.write(b"%d" % (1 // 0))

    assert store.names(lake_root) == []


def test_a_folder_is_placed_and_at_hand_for_a_while(lake_root, tmp_path):
    made = tmp_path / "made"
    (made / "deep").mkdir(parents=True)
    (made / "deep" / "weights").write_bytes(b"w")
    (made / "card.json").write_bytes(b"{}")
    folders.place(str(made), f"{lake_root}/one", "card.json")
    store.write_bytes(f"{lake_root}/one-more/other", b"")

    with folders.at_hand(f"{lake_root}/one") as local:
        assert folders.files(local) == ["card.json", "deep/weights"]
        assert pathlib.Path(local, "deep/weights").read_bytes() == b"w"

    assert not pathlib.Path(local).exists()


def test_a_range_of_a_long_list_is_read(lake_root):
    table = pa.table({"n": range(3 * ranges.BATCH_ROWS)})
    ranges.write(f"{lake_root}/due.arrow", table)

    found = ranges.read(f"{lake_root}/due.arrow", 5000, 5003)

    assert found["n"].to_pylist() == [5000, 5001, 5002]


UPLOAD = """
import sys
from pipelines.lake import store
with store.aside(sys.argv[1]) as file:
    for _ in range(96):
        file.write(bytes(2**20))
    print("uploading", flush=True)
"""


def test_a_killed_upload_leaves_nothing_visible(lake_root, s3):
    if not s3.is_real:
        pytest.skip("moto's server shows no parts of an upload")
    path = f"{lake_root}/large"
    name = lake_root.removeprefix("s3://").partition("/")[0]
    client = s3.client()
    process = subprocess.Popen(
        [sys.executable, "-c", UPLOAD, path], stdout=subprocess.PIPE
    )
    assert process.stdout.readline() == b"uploading\n"
    deadline = time.monotonic() + 60
    while not client.list_multipart_uploads(Bucket=name).get("Uploads"):
        assert time.monotonic() < deadline
        assert process.poll() is None

    process.send_signal(signal.SIGKILL)
    process.wait()

    assert not store.exists(path)
    assert store.names(lake_root) == []
    store.write_bytes(path, b"whole")
    assert store.read_bytes(path) == b"whole"


def test_a_full_folder_of_temporary_files_is_named(lake_root, monkeypatch):
    with (
        pytest.raises(OutOfSpace, match="TMPDIR"),
        store.aside(f"{lake_root}/x"),
    ):
        raise OSError(28, "No space left on device")


@pytest.mark.parametrize(
    "wrong", [{"AWS_ACCESS_KEY_ID": "nobody"}, {"AWS_SECRET_ACCESS_KEY": "wrong"}]
)
def test_wrong_keys_are_a_setting_that_is_named(lake_root, s3, as_if, wrong):
    if not s3.is_real:
        pytest.skip("moto's server takes any key")
    as_if(wrong)

    for ask in (store.exists, store.read_bytes, store.names):
        with pytest.raises(ConfigError, match="the keys") as caught:
            ask(f"{lake_root}/x")
        assert s3.secret not in str(caught.value)
        assert s3.key not in str(caught.value)
    with pytest.raises(ConfigError, match="the keys"):
        store.write_bytes(f"{lake_root}/x", b"1")


def test_no_keys_at_all_are_asked_for(lake_root, monkeypatch, as_if):
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    as_if({})

    with pytest.raises(ConfigError, match="no keys to use"):
        store.exists(f"{lake_root}/x")


def test_a_bucket_that_does_not_exist_is_named(lake_root):
    elsewhere = "s3://no-such-bucket/lake"

    with pytest.raises(ConfigError, match="no bucket 'no-such-bucket'"):
        store.exists(f"{elsewhere}/x")
    with pytest.raises(ConfigError, match="no bucket 'no-such-bucket'"):
        store.read_bytes(f"{elsewhere}/x")
    with pytest.raises(ConfigError, match="no bucket 'no-such-bucket'"):
        store.write_bytes(f"{elsewhere}/x", b"1")
    with pytest.raises(ConfigError, match="no bucket 'no-such-bucket'"):
        store.names(elsewhere)


def test_a_server_that_is_not_there_is_an_accident_and_soon(
    lake_root, as_if, monkeypatch
):
    monkeypatch.setattr(bucket, "PATIENCE_S", 1.0)
    monkeypatch.setattr(bucket, "TRIES", 1)
    gone = f"http://127.0.0.1:{s3_server.free_port('127.0.0.1')}"
    as_if({"AWS_ENDPOINT_URL": gone})
    began = time.monotonic()

    with pytest.raises(Unreachable, match=f"{gone} does not answer"):
        store.exists(f"{lake_root}/x")

    assert time.monotonic() - began < 15


@pytest.mark.slow
def test_a_server_that_comes_back_is_waited_for(s3, lake_root, tmp_path, as_if):
    if not s3.is_real:
        pytest.skip("moto's server forgets everything when it stops")
    with s3_server.serving(tmp_path / "own") as own:
        as_if(own.environment())
        path = f"{own.make_bucket('lake')}/x"
        store.write_bytes(path, b"1")
        own.stop()
        back = threading.Timer(3.0, own.start)
        back.start()

        found = store.read_bytes(path)

        back.join()
        assert found == b"1"


def test_an_endpoint_that_is_no_url_is_a_setting(lake_root, as_if):
    as_if({"AWS_ENDPOINT_URL": "nonsense"})

    with pytest.raises(ConfigError, match="nonsense"):
        store.exists(f"{lake_root}/x")
