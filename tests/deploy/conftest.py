"""The scripts of ``deploy/local``, importable; last, since one is named airflow."""

import pathlib
import sys

LOCAL = pathlib.Path(__file__).parents[2] / "deploy" / "local"
sys.path.append(str(LOCAL))
