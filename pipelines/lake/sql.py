"""DuckDB in memory, for questions about tables that one process asks."""

import os

import duckdb


def connect() -> duckdb.DuckDBPyConnection:
    """Return a fresh database for a ``with`` block.

    It works in as many threads as this process may use cores: by default DuckDB takes
    those of the machine, and on a pinned process they stand in each other's way.
    """
    return duckdb.connect(config={"threads": len(os.sched_getaffinity(0))})
