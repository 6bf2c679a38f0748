"""Shows the report of a night beside its run, in Airflow's own pages."""

import hashlib
import os
import re

import fsspec
from airflow.api_fastapi.core_api.security import requires_access_dag
from airflow.plugins_manager import AirflowPlugin
from fastapi import Depends, FastAPI
from fastapi.responses import HTMLResponse

NIGHTLY = re.compile(r"nightly_([a-z][a-z0-9_]*)\Z")
NONE_YET = """<!doctype html><meta charset="utf-8"><title>No report</title>
<body style="font: 16px system-ui; margin: 3em; color: #345">
<p>There is no report of this run{why}.</p>"""

# The page comes from images that strangers may have named: it may run its own scripts,
# but as a stranger, without the reader's session.
HEADERS = {"Content-Security-Policy": "sandbox allow-scripts allow-popups"}

app = FastAPI(title="latentlake reports", docs_url=None, redoc_url=None)


@app.get(
    "/{dag_id}/{dag_run_id}",
    dependencies=[Depends(requires_access_dag("GET"))],
    response_class=HTMLResponse,
)
def report(dag_id: str, dag_run_id: str) -> HTMLResponse:
    """Return the page of the night that the DAG run made."""
    found = report_of(dag_id, dag_run_id)
    if found is None:
        why = " (yet)" if NIGHTLY.match(dag_id) else ": only nights have one"
        return HTMLResponse(NONE_YET.format(why=why), 404, HEADERS)
    return HTMLResponse(found, 200, HEADERS)


def report_of(dag_id: str, dag_run_id: str) -> str | None:
    """Return the report; its run's id ends in a digest of Airflow's.

    Airflow needs nothing of ours for that, and fsspec it has; of a lake in a bucket,
    s3fs and the keys.
    """
    nightly = NIGHTLY.match(dag_id)
    if not nightly:
        return None
    digest = hashlib.sha256(dag_run_id.encode()).hexdigest()[:8]
    runs = f"{os.environ['LATENTLAKE_LAKE']}/{nightly[1]}/runs"
    fs, inner = fsspec.core.url_to_fs(runs)
    fs.invalidate_cache()  # others write there
    try:
        found = fs.ls(inner, detail=False)
        run = re.compile(rf"/\d{{4}}-\d\d-\d\d-{digest}/?\Z")
        named = next(name.rstrip("/") for name in found if run.search(name))
        return str(fs.cat_file(f"{named}/report.html").decode())
    except (FileNotFoundError, StopIteration):
        return None


class Reports(AirflowPlugin):
    """A tab *Report* on the page of a DAG run."""

    name = "latentlake_reports"
    fastapi_apps = [  # noqa: RUF012 - Airflow's way to declare them
        {"app": app, "url_prefix": "/latentlake/report", "name": "latentlake reports"}
    ]
    external_views = [  # noqa: RUF012 - likewise
        {
            "name": "Report",
            "href": "/latentlake/report/{DAG_ID}/{RUN_ID}",
            "destination": "dag_run",
            "url_route": "report",
        }
    ]
