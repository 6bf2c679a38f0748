"""What the end of a stage means to Airflow: done, skipped, failed, or try again."""

import signal

from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowSkipException,
)

DONE = 0
NOTHING_TO_DO = 10
FINAL = {
    2: "a setting is wrong, or the tables are held. Mend it, then trigger the night "
    "anew: a run keeps the settings it began with. After `latentlake release`, "
    "clearing this task is enough",
    3: "the gate refused the candidate and no encoder was ever accepted, so nothing "
    "is published. The report has the figures; change the settings of the encoder or "
    "of the gate, then trigger the night anew",
    4: "the night as a whole cannot be trusted, so nothing is published. Look at the "
    "source and at the report's rejections; where the night is right and the limit "
    "is not, change it under [limits], then trigger the night anew",
    5: "an artefact is not what its description says. Nothing was overwritten; point "
    "to a whole one, or train again",
}
"""The exit codes that a retry cannot help, in words."""


def raise_for(stage: str, code: int, said: str) -> None:
    """Raise what Airflow is to do about exit ``code``; nothing where it is 0.

    ``said`` is the stage's own last word: a skip's reason, or the error.
    """
    if code == DONE:
        return
    if code == NOTHING_TO_DO:
        raise AirflowSkipException(f"{stage}: {said or 'nothing to do'}")
    own = f"\n{said}" if said else ""
    if code in FINAL:
        raise AirflowFailException(f"{stage}: exit code {code}: {FINAL[code]}.{own}")
    if code > 128:
        raise AirflowException(f"{stage}: {_signal(code - 128)}. Tried again.{own}")
    raise AirflowException(
        f"{stage}: exit code {code}: an accident. Tried again; what was finished "
        f"before it stands and is not done twice.{own}"
    )


def _signal(number: int) -> str:
    try:
        name = signal.Signals(number).name
    except ValueError:
        name = f"signal {number}"
    hints = {
        "SIGKILL": " (out of memory is the usual cause)",
        "SIGTERM": " (its worker was asked to stop)",
        "SIGSEGV": " (a crash in compiled code)",
    }
    return f"was ended by {name}{hints.get(name, '')}"
