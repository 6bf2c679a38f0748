"""Lets ``python -m pipelines STAGE …`` work."""

from pipelines.cli import main

main()
