import os
import subprocess
import sys
import textwrap

import pytest

TROUBLE = "E0000 00:00:1 2 disk.cc:1] a real trouble"
STAND_IN = f"""
import os, sys
os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called\\n")
os.write(2, b"I0000 00:00:1 2 cudart_stub.cc:31] Could not find cuda drivers\\n")
os.write(2, b"{TROUBLE}\\n")
print("and Python's", file=sys.stderr)
"""


@pytest.fixture
def load(tmp_path):
    """Return a function: what loading a stand-in for TensorFlow leaves on stderr."""
    (tmp_path / "tensorflow.py").write_text(STAND_IN)

    def run(level):
        code = textwrap.dedent(f"""
            import sys; sys.path.insert(0, {str(tmp_path)!r})
            from pipelines import quiet
            quiet.begin()
            from importlib.util import find_spec; find_spec("tensorflow")
            import tensorflow
            print("after", file=sys.stderr)
        """)
        env = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
        if level:
            env["TF_CPP_MIN_LOG_LEVEL"] = level
        done = subprocess.run(
            [sys.executable, "-c", code], env=env, capture_output=True, text=True
        )
        return done.stderr.splitlines()

    return run


@pytest.mark.parametrize("level", [None, "2"])
def test_loading_tensorflow_says_only_what_is_news(load, level):
    said = load(level)

    assert said == [
        "E0000 00:00:1 2 disk.cc:1] a real trouble",
        "and Python's",
        "after",
    ]


def test_who_asks_tensorflow_to_speak_hears_all_of_it(load):
    said = load("0")

    assert len(said) == 5


def test_an_error_while_loading_is_raised_and_what_was_said_is_passed_on(
    load, tmp_path
):
    (tmp_path / "tensorflow.py").write_text(
        STAND_IN + "\nraise ImportError('broken')\n"
    )

    said = load(None)

    assert "and Python's" in said
    assert said[-1] == "ImportError: broken"


def test_a_crash_while_loading_is_told(load, tmp_path):
    (tmp_path / "tensorflow.py").write_text("import os\nos.abort()\n")

    said = load(None)

    assert "Fatal Python error: Aborted" in said
