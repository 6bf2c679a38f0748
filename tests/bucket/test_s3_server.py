"""The S3 server of a desk, as a program."""

import os
import subprocess
import sys

import s3_server


def test_a_server_that_does_not_come_up_is_told_without_a_traceback(tmp_path):
    broken = tmp_path / "versitygw"
    broken.write_text("#!/bin/sh\necho no such thing\nexit 1\n")
    broken.chmod(0o755)

    done = subprocess.run(
        [sys.executable, s3_server.__file__, str(tmp_path / "folder")],
        env=os.environ | {"LATENTLAKE_SERVERS": str(tmp_path), "PYTHONSAFEPATH": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )

    assert done.returncode == 1
    assert "does not serve.\nno such thing" in done.stderr
    assert "Traceback" not in done.stderr
