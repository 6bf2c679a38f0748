import os

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.memory import MemoryFileSystem

from pipelines.errors import BadNight, ConfigError
from pipelines.records import Rejection


def test_a_csv_names_files_from_its_own_folder(tmp_path, source, contents):
    (tmp_path / "img").mkdir()
    (tmp_path / "img" / "1.jpg").write_bytes(b"one")
    (tmp_path / "elsewhere.jpg").write_bytes(b"two")
    (tmp_path / "list.csv").write_text(
        "path,label,split\n"
        "img/1.jpg,cat,train\n"
        f"{tmp_path}/elsewhere.jpg,,test\n"
        "img/gone.jpg,dog,\n"
        ",nothing,\n"
        "img/../img/1.jpg,again,\n"
    )

    found = contents(source(tmp_path / "list.csv"))

    one, data = found[f"{tmp_path}/img/1.jpg"]
    gone, rejection = found[f"{tmp_path}/img/gone.jpg"]
    assert (one.label, one.split, one.bytes, data) == ("cat", "train", 3, b"one")
    assert found[f"{tmp_path}/elsewhere.jpg"][0].split == "eval"
    assert (gone.bytes, rejection.reason) == (None, "missing")
    assert len(found) == 3


def test_a_tsv_and_other_column_names_do_as_well(tmp_path, source):
    (tmp_path / "list.tsv").write_text("\ufefffile\tclass\na b.jpg\tcat\n", "utf-8")

    opened = source(tmp_path / "list.tsv", uri_column="file", label_column="class")

    assert [(os.path.basename(one.source_uri), one.label) for one in opened.list()] == [
        ("a b.jpg", "cat")
    ]


def test_a_parquet_list_is_told_from_parquet_images(tmp_path, source, contents):
    (tmp_path / "1.bin").write_bytes(b"one")
    table = pa.table({"path": ["1.bin", None], "label": [7, 8]})
    pq.write_table(table, tmp_path / "list.parquet")

    found = contents(source(tmp_path / "list.parquet"))

    assert [(one.label, data) for one, data in found.values()] == [("7", b"one")]


def test_a_row_that_no_filesystem_knows_is_missing(tmp_path, source, contents):
    (tmp_path / "list.csv").write_text("path\nnosuch://bucket/1.jpg\n/dev/zero\n")

    found = contents(source(tmp_path / "list.csv"))

    assert all(isinstance(data, Rejection) for _, data in found.values())
    assert len(found) == 2


def test_a_list_without_its_column_names_those_it_has(tmp_path, source):
    (tmp_path / "list.csv").write_text("file,label\n1.jpg,cat\n")

    with pytest.raises(ConfigError, match="file, label"):
        list(source(tmp_path / "list.csv").list())


def test_a_list_that_is_no_text_is_a_bad_night(tmp_path, source):
    (tmp_path / "list.csv").write_bytes(b"path\n\xff\xfe.jpg\n")

    with pytest.raises(BadNight, match=r"list\.csv"):
        list(source(tmp_path / "list.csv").list())


class Hosts(MemoryFileSystem):
    """Each host holds files of its own, as with FTP."""

    protocol = "hosts"

    def __init__(self, host="", **options):
        super().__init__(**options)
        self.host = host

    @classmethod
    def _strip_protocol(cls, path):
        return "/" + path.removeprefix("hosts://").partition("/")[2].lstrip("/")

    @staticmethod
    def _get_kwargs_from_urls(path):
        return {"host": path.removeprefix("hosts://").partition("/")[0]}

    def info(self, path, **options):
        return {"name": path, "size": len(self.host), "type": "file"}

    def cat_file(self, path, start=None, end=None, **options):
        return self.host.encode()

    def expand_path(self, path, recursive=False, maxdepth=None, **options):
        return path


def test_a_list_may_name_files_of_several_hosts(tmp_path, source, contents):
    fsspec.register_implementation("hosts", Hosts, clobber=True)
    (tmp_path / "list.csv").write_text("path\nhosts://a/1.jpg\nhosts://bb/1.jpg\n")

    found = contents(source(tmp_path / "list.csv"))

    assert {uri: data for uri, (_, data) in found.items()} == {
        "hosts://a/1.jpg": b"a",
        "hosts://bb/1.jpg": b"bb",
    }
