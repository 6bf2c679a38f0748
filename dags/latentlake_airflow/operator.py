"""Runs one stage as the command it is, and tells Airflow how it ended."""

import contextlib
import json
import logging
import os
import shlex
import time
from collections.abc import Mapping
from typing import Any, NamedTuple

from airflow.sdk import BaseOperator, Context

from latentlake_airflow import forms, night, outcome, settings
from latentlake_airflow.child import Child

FIRST = "ingest"
BEAM_STAGES = ("ingest", "transform", "train", "encode")
"""Train is one for presets in closed form; others make nothing of the flags."""
METRICS = "METRICS "


class Place(NamedTuple):
    """Which run of which lake a task works on."""

    lake: str
    run_id: str | None
    night: str


class StageOperator(BaseOperator):
    """One stage of one dataset: ``python -m pipelines STAGE DATASET …``.

    What the stage counted becomes the task's XCom and, where it published, part of the
    asset event. Exit codes become success, skip, failure or retry (``outcome``).
    """

    ui_color = "#e8f4f2"

    def __init__(self, *, stage: str, dataset: settings.Dataset, **kwargs: Any) -> None:
        super().__init__(task_id=stage, **kwargs)
        self.stage = stage
        self.dataset = dataset.name
        self.datasets_folder = str(dataset.file.parent)
        self.timezone = dataset.timezone
        self._child: Child | None = None

    def execute(self, context: Context) -> dict[str, Any] | None:
        """Run the stage; return what it counted."""
        if self.stage == FIRST:
            self._refuse_unknown(context)
        place = self.place(context)
        command = self.command(place, context["params"])
        listener = _Listener(self.stage)
        self.log.info("%s starts: %s", self.stage, shlex.join(command[1:]))
        began = time.monotonic()
        self._child = Child(command, env=self.environment(), on_line=listener.hear)
        code = self._child.wait()
        seconds = time.monotonic() - began
        self.log.info("%s ends: %.1f s, exit code %d", self.stage, seconds, code)
        self._hand_on(context, place, listener.metrics)
        outcome.raise_for(self.stage, code, listener.last_word(code))
        return listener.metrics

    def on_kill(self) -> None:
        """End the stage and whatever it started; Airflow calls this."""
        if self._child is not None:
            self._child.stop()

    def place(self, context: Context) -> Place:
        """Return the run that the task belongs to."""
        dag_run = context["dag_run"]
        date = night.night_of(dag_run, context["params"].get("night"), self.timezone)
        return Place(settings.lake(), night.run_id_of(dag_run, date), date)

    def command(self, place: Place, params: Mapping[str, Any]) -> list[str]:
        """Return the stage's command; no shell ever sees it."""
        words = [settings.interpreter(), "-m", "pipelines", self.stage, self.dataset]
        words += ["--lake", place.lake]
        if place.run_id:
            words += ["--run-id", place.run_id]
        if self.stage == FIRST:
            words += ["--night", place.night, *forms.flags_of(params)]
        beam = settings.beam_flags() if self.stage in BEAM_STAGES else []
        return [*words, "--", *beam] if beam else words

    def environment(self) -> dict[str, str]:
        """Return the stage's environment: ours, without Airflow's own secrets."""
        inherited = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("AIRFLOW_", "_AIRFLOW"))
        }
        return inherited | {
            "LATENTLAKE_DATASETS": self.datasets_folder,
            "LATENTLAKE_METRICS": "1",
            "PYTHONUNBUFFERED": "1",
        }

    def _refuse_unknown(self, context: Context) -> None:
        known = list(self.dag.params)  # the context's also hold what is unknown
        unknown = forms.unknown(context["dag_run"].conf, known)
        if unknown:
            raise outcome.AirflowFailException(
                f"the run's configuration has {', '.join(unknown)}, which this DAG "
                f"does not know. It knows {', '.join(known)}. "
                "Trigger it anew with those."
            )

    def _hand_on(
        self, context: Context, place: Place, metrics: dict[str, Any] | None
    ) -> None:
        """Leave the counts where they outlive a skip or a failure, too."""
        if metrics is None:
            return
        context["ti"].xcom_push(key="return_value", value=metrics)
        for asset in self.outlets:
            context["outlet_events"][asset].extra = {
                "run_id": place.run_id,
                "night": place.night,
                **metrics,
            }


class _Listener:
    """Passes a stage's lines to the task's log and keeps what it is to hand on."""

    def __init__(self, stage: str) -> None:
        self.metrics: dict[str, Any] | None = None
        self._last_error = ""
        self._loggers = {
            "stdout": logging.getLogger(f"latentlake.{stage}.stdout"),
            "stderr": logging.getLogger(f"latentlake.{stage}.stderr"),
        }

    def hear(self, pipe: str, line: str) -> None:
        """Take one line of ``pipe``."""
        if pipe == "stdout" and line.startswith(METRICS):
            # A line too long arrives in pieces; who raises here stops the listening.
            with contextlib.suppress(ValueError):
                self.metrics = json.loads(line.removeprefix(METRICS))
                return
        if pipe == "stderr" and line.strip():
            self._last_error = line
        self._loggers[pipe].info("%s", line)

    def last_word(self, code: int) -> str:
        """Return why the stage ended as it did, in its own words."""
        said = self.metrics or {}
        if code == outcome.NOTHING_TO_DO:
            return str(said.get("note") or "")
        return str(said.get("error") or self._last_error)
