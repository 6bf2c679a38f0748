"""Fixtures used by more than one test file."""

import os
import pathlib

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

SHARED = pathlib.Path(__file__).parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> pathlib.Path:
    """Return the folder of real data that lies beside some checkouts."""
    if not SHARED.is_dir():
        pytest.skip(f"no real data beside this checkout ({SHARED.name} is missing)")
    return SHARED
