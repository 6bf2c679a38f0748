"""The DAGs' own package, and an Airflow that keeps to a folder of its own."""

import os
import pathlib
import sys
import tempfile

os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-tests-"))
os.environ.setdefault("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
sys.path.insert(0, str(pathlib.Path(__file__).parents[2] / "dags"))
