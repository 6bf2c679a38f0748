"""Who a worker says it is."""

import pathlib

import pytest

from pipelines.engine import probe


def test_a_checkout_that_differs_in_one_file_is_another_build(tmp_path, monkeypatch):
    (tmp_path / "pipelines").mkdir()
    file = tmp_path / "pipelines" / "one.py"
    file.write_text("A = 1\n")
    monkeypatch.setattr(
        probe.importlib.util, "find_spec", lambda name: Spec(tmp_path / name)
    )

    first = probe._code.__wrapped__()
    file.write_text("A = 2\n")

    assert probe._code.__wrapped__() != first


class Spec:
    def __init__(self, place: pathlib.Path) -> None:
        self.submodule_search_locations = [str(place)]


def test_the_build_names_version_code_beam_and_python():
    build = probe.build()

    for part in build:
        assert part
        assert part in build.words


@pytest.mark.parametrize("master", ["http://127.0.0.1:8081", "http://localhost"])
def test_a_host_knows_its_address_as_the_master_sees_it(master):
    assert probe.own_address(master) == "127.0.0.1"
