"""The command ``latentlake``: name and flags → run → stage → exit code.

``latentlake STAGE DATASET [flags] [-- Beam flags]``. The flags of a stage are the
settings of the dataset (``flags``); what is heavy is imported once a command is
chosen, so that help answers at once.
"""

import logging
import os
import select
import sys
from typing import NoReturn, TextIO

from pipelines import quiet
from pipelines.errors import (
    ACCIDENT,
    ConfigError,
    LatentlakeError,
    explain_system,
)
from pipelines.lake import afar

STAGES = {
    "ingest": "screen what is new in the source into shards and an inventory",
    "transform": "fit the normalisation, write training examples",
    "train": "fit the encoder; leaves a candidate",
    "evaluate": "judge the candidate against PCA and the accepted encoder",
    "encode": "turn shards into latents with the accepted encoder",
    "publish": "check staged rows on a branch, then move the tables",
    "report": "make the page of a run",
    "classify": "train and score a classifier on the published table",
    "night": "all of them in order",
}
COMMANDS = {
    "init": "write the settings of a new dataset, every one explained",
    "check": "validate a dataset's settings and try ten of its images",
    "status": "say last night, snapshot, space, age and what is due",
    "rollback": "move the tables back, and hold them there",
    "release": "let nights publish again after a rollback",
    "tune": "search settings of training and encoder for better ones",
    "generate": "draw new images from the latent space of an encoder",
}
NOISY = (
    *("pyiceberg", "apache_beam", "absl", "tensorflow", "h5py", "matplotlib"),
    *("botocore", "aiobotocore", "s3fs", "fsspec"),
)
"""Libraries whose warnings alone are told."""
NOBODY_READS = 141
"""The exit code of a program that the signal SIGPIPE would have ended."""


def main() -> NoReturn:
    """Run the command line and leave with its exit code."""
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s %(message)s", datefmt="%H:%M:%S"
    )
    for noisy in NOISY:
        logging.getLogger(noisy).setLevel(logging.WARNING)
    quiet.begin()
    try:
        code = dispatch(sys.argv[1:])
    except LatentlakeError as error:
        print(f"latentlake: {error}", file=sys.stderr)
        code = error.exit_code
    except KeyboardInterrupt:
        code = 130
    except Exception as error:
        code = NOBODY_READS if unread(sys.stdout) else accident(error)
    leave(code)


def unread(stream: TextIO) -> bool:
    """Return whether who read ``stream`` is gone, as ``head`` is; no more is said."""
    poll = select.poll()
    poll.register(stream.fileno(), select.POLLOUT)
    gone = any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))
    if gone:
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
    stream.flush()
    return gone


def accident(error: Exception) -> int:
    """Say what nobody expected, with a traceback where words alone cannot help."""
    meant = afar.meaning(error, "the lake")
    if meant is not None:
        print(f"latentlake: {meant}", file=sys.stderr)
        return meant.exit_code
    words = explain_system(error)
    if words is None:
        logging.getLogger(__name__).exception("latentlake: an accident")
        words = f"an accident: {type(error).__name__}: {error}"
    print(f"latentlake: {words}", file=sys.stderr)
    return ACCIDENT


def leave(code: int) -> NoReturn:
    """End the process at once.

    A program that loaded Beam and TensorFlow may crash while the interpreter takes
    itself apart, after all work is done; so nothing is taken apart.
    """
    logging.shutdown()
    unread(sys.stdout)
    unread(sys.stderr)
    os._exit(code)


def dispatch(argv: list[str]) -> int:
    """Return the exit code of the command line ``argv``."""
    if not argv or argv[0] in ("-h", "--help", "help"):
        print(usage())
        return 0
    name, *rest = argv
    if name == "--version":
        from importlib.metadata import version

        print(f"latentlake {version('latentlake')}")
        return 0
    if name in STAGES:
        return stage_command(name, rest)
    if name in COMMANDS:
        from pipelines.commands import registry

        return registry.run(name, rest)
    raise ConfigError(f"there is no command {name!r}.\n\n{usage()}")


def usage() -> str:
    """Return the first page of help."""
    lines = [
        "Every night, a folder of images becomes a table of features.",
        "",
        "usage: latentlake COMMAND DATASET [flags] [-- Beam flags]",
    ]
    for title, table in (("a night", STAGES), ("between nights", COMMANDS)):
        lines += ["", f"{title}:"]
        lines += [f"  {name:<10} {text}" for name, text in table.items()]
    lines += ["", "latentlake COMMAND --help lists the flags of a command."]
    return "\n".join(lines)


def split_beam(argv: list[str]) -> tuple[list[str], list[str]]:
    """Return our flags and, from behind ``--``, Beam's."""
    if "--" not in argv:
        return argv, []
    at = argv.index("--")
    return argv[:at], argv[at + 1 :]


def stage_command(stage: str, argv: list[str]) -> int:
    """Return the exit code of ``stage`` with the flags ``argv``."""
    ours, beam_flags = split_beam(argv)
    from pipelines import flags
    from pipelines.stages import perform

    run, again = flags.parse(stage, STAGES[stage], ours)

    if stage == "night":
        from pipelines.stages import night

        return night.run(perform.begin(run), beam_flags)
    if stage in flags.FIRST:
        run = perform.begin(run)
    return perform.perform(stage, run, beam_flags, again=again)
