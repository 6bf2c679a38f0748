"""What the built wheel holds, and whose names it takes."""

import importlib.metadata
import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"  # a copy: building leaves files behind
    for name in ("pipelines", "models"):
        shutil.copytree(ROOT / name, source / name)
    for name in ("setup.py", "pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, source)
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation"]
    subprocess.run(
        [*command, "--outdir", str(folder), str(source)],
        check=True,
        capture_output=True,
    )
    (found,) = folder.glob("*.whl")
    return zipfile.ZipFile(found).namelist()


def test_the_wheel_holds_the_two_packages_and_nothing_else(wheel):
    tops = {name.split("/")[0] for name in wheel}

    assert {top for top in tops if not top.endswith(".dist-info")} == {
        "pipelines",
        "models",
    }


def test_the_wheel_holds_every_module_and_template(wheel):
    for folder in ("pipelines", "models"):
        for path in (ROOT / folder).rglob("*"):
            if path.suffix in {".py", ".html", ".css", ".typed"}:
                assert str(path.relative_to(ROOT)) in wheel


@pytest.mark.parametrize("name", ["pipelines", "models"])
def test_each_name_has_one_owner(name):
    owners = importlib.metadata.packages_distributions().get(name, ["latentlake"])

    assert set(owners) == {"latentlake"}


def test_the_command_is_installed():
    scripts = importlib.metadata.entry_points(group="console_scripts")

    assert [one.value for one in scripts if one.name == "latentlake"] == [
        "pipelines.cli:main"
    ]
