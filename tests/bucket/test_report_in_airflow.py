import hashlib
import importlib.util
import pathlib

import pytest

from pipelines.lake import store

PLUGIN = (
    pathlib.Path(__file__).parents[2] / "deploy/local/plugins/latentlake_reports.py"
)


@pytest.fixture(scope="module")
def plugin():
    """Return the plugin's module, as Airflow loads it."""
    spec = importlib.util.spec_from_file_location("latentlake_reports", PLUGIN)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("where", ["bucket", "disk"])
def test_airflow_shows_the_page_of_a_run(
    plugin, where, lake_root, tmp_path, monkeypatch
):
    lake = lake_root if where == "bucket" else str(tmp_path)
    monkeypatch.setenv("LATENTLAKE_LAKE", lake)
    digest = hashlib.sha256(b"manual__1").hexdigest()[:8]
    assert plugin.report_of("nightly_shapes", "manual__1") is None

    path = f"{lake}/shapes/runs/2026-03-09-{digest}/report.html"
    store.write_bytes(path, "<p>über</p>".encode())

    assert plugin.report_of("nightly_shapes", "manual__1") == "<p>über</p>"
    assert plugin.report_of("nightly_shapes", "manual__2") is None
    assert plugin.report_of("other", "manual__1") is None
