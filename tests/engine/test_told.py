import subprocess
import sys

import pytest

CODE = """
import logging
import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from pipelines.engine import told
from pipelines.errors import Unreachable

logging.basicConfig(level=logging.WARNING)
told.once()
THREADS = ["--runner=FnApiRunner", "--direct_num_workers=2"]
THREADS += ["--direct_running_mode=multi_threading"]

def fail(_):
    raise {error}

try:
    with beam.Pipeline(options=PipelineOptions(THREADS)) as p:
        p | beam.Create([1]) | beam.Map(fail)
except Exception as error:
    print("caught", "gone for now" in str(error))
"""


@pytest.mark.parametrize(
    ("error", "tracebacks"), [("Unreachable", False), ("KeyError", True)]
)
def test_a_worker_tells_no_traceback_of_an_error_of_ours(error, tracebacks):
    code = CODE.format(error=f"{error}('s3://x: gone for now.')")

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout == "caught True\n"
    assert ("Traceback" in done.stderr) == tracebacks
