"""Flags of Beam: read, and refused where there is no such flag.

Beam itself only warns of a flag that it does not know, and goes on without.
"""

import argparse
import contextlib
import io
from collections.abc import Collection

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions

from pipelines.errors import ConfigError


def parse(flags: list[str]) -> PipelineOptions:
    """Return the options that ``flags`` make.

    Raises:
        ConfigError: A value is not of its flag's kind.
    """
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            found = PipelineOptions(flags)
            found.get_all_options(display_warnings=False)
            return found
    except SystemExit as error:  # how argparse refuses
        why = said.getvalue().strip().splitlines()[-1:] or ["no reason given"]
        raise ConfigError(
            f"flags of Beam {' '.join(flags)}: {why[0]}. They stand behind -- and in "
            "engine.flags."
        ) from error


def require_known(
    flags: list[str], options: PipelineOptions, server: Collection[str] = ()
) -> None:
    """Raise :class:`ConfigError` where a flag is none of Beam's.

    ``options`` were made of ``flags``; ``server`` are the names of those that a job
    server knows besides.
    """
    parsers: list[argparse.ArgumentParser] = []
    options.get_all_options(add_extra_args_fn=parsers.append)
    _, unknown = parsers[0].parse_known_args(flags)
    names = [word.partition("=")[0] for word in unknown if word.startswith("--")]
    wrong = [name for name in names if name[2:] not in server]
    if not server:
        wrong += [word for word in unknown if not word.startswith("--")]
    if wrong:
        runner = options.view_as(StandardOptions).runner
        raise ConfigError(
            f"{', '.join(wrong)}: Beam has no such flag for {runner}. Flags of Beam "
            "stand behind -- and in engine.flags; look for a slip of the pen."
        )
