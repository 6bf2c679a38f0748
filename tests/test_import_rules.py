"""The table of who may import whom, as code; it reads every file of the project."""

import ast
import pathlib

import pytest

ROOT = pathlib.Path(__file__).parents[1]
HEAVY = {
    "airflow", "apache_beam", "bokeh", "cv2", "duckdb", "fsspec", "jinja2", "keras",
    "matplotlib", "numpy", "pandas", "pyarrow", "pyiceberg", "scipy", "simplejpeg",
    "skimage", "sklearn", "tensorflow", "tensorflow_transform", "tfx_bsl",
}  # fmt: skip
ENGINES = {"airflow", "apache_beam", "tensorflow", "tensorflow_transform", "tfx_bsl"}
TFT = {"tensorflow", "tensorflow_transform", "tfx_bsl"}
LIGHT = (
    "pipelines/cli.py", "pipelines/config.py", "pipelines/sections.py",
    "pipelines/engine_section.py", "pipelines/errors.py",
    "pipelines/quiet.py", "pipelines/records.py", "pipelines/lake/layout.py",
    "pipelines/stages/gate.py",
    "pipelines/stages/retrain.py", "models/spec.py",
)  # fmt: skip
BEAM_ROOMS = (
    "pipelines/engine/", "pipelines/stages/ingest", "pipelines/stages/transform",
    "pipelines/stages/encode",
)  # fmt: skip


def sources(folder: str) -> list[str]:
    found = sorted((ROOT / folder).rglob("*.py"))
    return [str(path.relative_to(ROOT)) for path in found]


def imported(file: str, *, top_only: bool = False) -> set[str]:
    """Return the modules ``file`` imports, function-local ones included."""
    tree = ast.parse((ROOT / file).read_text(encoding="utf-8"))
    nodes = tree.body if top_only else ast.walk(tree)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: a relative import"
            found.add(node.module or "")
    return found


def roots(modules: set[str]) -> set[str]:
    return {module.split(".")[0] for module in modules}


@pytest.mark.parametrize("file", sources("models"))
def test_models_know_no_pipeline(file):
    found = roots(imported(file))

    assert not found & {"pipelines", "apache_beam", "airflow", "tensorflow_transform"}
    if file != "models/artifact.py":
        assert "tensorflow" not in found


@pytest.mark.parametrize("file", sources("pipelines"))
def test_pipelines_know_no_dag(file):
    assert not roots(imported(file)) & {"dags", "airflow", "latentlake_airflow"}


@pytest.mark.parametrize("file", sources("pipelines"))
def test_engines_stay_in_their_rooms(file):
    found = roots(imported(file))

    if not file.startswith(BEAM_ROOMS):
        assert "apache_beam" not in found
    if not file.startswith("pipelines/stages/transform"):
        assert not found & TFT


@pytest.mark.parametrize("file", [f for f in LIGHT if (ROOT / f).exists()])
def test_the_front_door_imports_nothing_heavy(file):
    assert not roots(imported(file, top_only=True)) & HEAVY


@pytest.mark.parametrize("file", sources("pipelines/stages"))
def test_a_stage_decides_before_it_loads_an_engine(file):
    name = pathlib.Path(file).stem
    found = roots(imported(file, top_only=True))

    if name in {"ingest", "transform", "train", "evaluate", "encode", "publish"}:
        assert not found & (ENGINES | {"keras", "sklearn", "bokeh"})


@pytest.mark.parametrize("file", sources("dags"))
def test_dags_import_only_airflow_and_the_standard_library(file):
    import sys

    allowed = set(sys.stdlib_module_names) | {"airflow", "latentlake_airflow"}
    if file == "dags/latentlake_airflow/pod.py":  # imported where a pod is configured
        allowed |= {"kubernetes", "yaml"}
    modules = imported(file)

    assert roots(modules) <= allowed
    assert all(m.startswith("airflow.sdk") for m in modules if m.startswith("airflow"))


@pytest.mark.parametrize("folder", ["pipelines", "models", "dags"])
def test_packages_are_marked_by_empty_files(folder):
    for path in (ROOT / folder).rglob("__init__.py"):
        assert path.read_text() == "", f"{path} holds code"


def test_lower_rooms_do_not_import_upper_ones():
    order = ["models", "lake", "media", "sources", "pages", "engine", "stages"]
    lower = {"lake": {"stages", "commands", "engine", "pages", "sources", "media"}}
    lower["sources"] = lower["media"] = {"stages", "commands", "engine", "pages"}
    lower["engine"] = {"stages", "commands"}
    lower["pages"] = {"stages", "commands", "engine"}

    assert set(lower) <= set(order)
    for room, above in lower.items():
        for file in sources(f"pipelines/{room}"):
            rooms = {m.split(".")[1] for m in imported(file) if m.count(".") >= 1
                     and m.startswith("pipelines.")}  # fmt: skip
            assert not rooms & above, f"{file} imports {rooms & above}"
