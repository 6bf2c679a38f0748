"""What a Flink job manager is asked over its web interface, and told."""

import http.client
import json
import time
import urllib.error
import urllib.request
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from pipelines.engine import job as jobs
from pipelines.errors import LatentlakeError

ANSWER_S = 10.0
CANCEL_S = 60.0
NOTED_S = 8.0
PAUSE_S = 0.5
OVER = {"FINISHED", "FAILED", "CANCELED", "SUSPENDED"}


class FlinkJob(NamedTuple):
    """A job as the master lists it.

    Attributes:
        id: Its number there.
        name: What its submitter called it.
        state: RUNNING, FINISHED, FAILED …
    """

    id: str
    name: str
    state: str

    @property
    def is_over(self) -> bool:
        """Whether it will not go on."""
        return self.state in OVER


class Slots(NamedTuple):
    """How much can run at a time.

    Attributes:
        total: Slots of all task managers.
        free: Those without work.
    """

    total: int
    free: int


class Master:
    """A Flink job manager, by its web address."""

    def __init__(self, address: str) -> None:
        self.address = (address if "://" in address else f"http://{address}").rstrip(
            "/"
        )

    def slots(self) -> Slots:
        """Return how many slots there are, and how many are free."""
        found = self._get("/overview")
        return Slots(found["slots-total"], found["slots-available"])

    def hosts(self) -> list[str]:
        """Return the address of the host of every task manager."""
        paths = (one["path"] for one in self._get("/taskmanagers")["taskmanagers"])
        return sorted(urlsplit(path).hostname or path for path in paths)

    def jobs(self, name: str | None = None) -> list[FlinkJob]:
        """Return the jobs that the master knows, or those of one stage's name."""
        found = [
            FlinkJob(one["jid"], one["name"], one["state"])
            for one in self._get("/jobs/overview")["jobs"]
        ]
        return [one for one in found if name is None or jobs.is_of(one.name, name)]

    def details(self, job_id: str) -> dict[str, Any]:
        """Return what the master says of one job: its state, its vertices."""
        return dict(self._get(f"/jobs/{job_id}"))

    def unfinished(self, job_id: str) -> list[tuple[str, str, str]]:
        """Return task, host and state of what all the rest of a job waits for.

        These are the open tasks of its first step that is not done; later steps run
        as well, but only wait for its output.
        """
        for vertex in self.details(job_id)["vertices"]:  # in the order of the data
            path = f"/jobs/{job_id}/vertices/{vertex['id']}"
            tasks = (
                [] if vertex["status"] == "FINISHED" else self._get(path)["subtasks"]
            )
            found = [
                (vertex["name"], _host(task), task["status"])
                for task in tasks
                if task["status"] != "FINISHED"
            ]
            if found:
                return found
        return []

    def failed_at(self, job_id: str) -> str:
        """Return the host on which a job failed, by what the master noted.

        What it noted last is seen after some seconds, since it answers from a cache.
        """
        until = time.monotonic() + NOTED_S
        while True:
            history = self._get(f"/jobs/{job_id}/exceptions").get("exceptionHistory")
            for one in (history or {}).get("entries", []):
                if one.get("endpoint") or one.get("host"):
                    return _host(one)
            if time.monotonic() > until:
                return "a host that Flink does not name"
            time.sleep(PAUSE_S)

    def cancel(self, found: list[FlinkJob]) -> None:
        """Cancel these jobs and wait until they are over.

        Raises:
            LatentlakeError: One goes on all the same.
        """
        wanted = {one.id for one in found if not one.is_over}
        for job_id in wanted:
            self._ask(f"/jobs/{job_id}?mode=cancel", "PATCH")
        until = time.monotonic() + CANCEL_S
        while wanted & {one.id for one in self.jobs() if not one.is_over}:
            if time.monotonic() > until:
                raise LatentlakeError(
                    f"{self.address}: job {', '.join(wanted)} was cancelled and is "
                    f"still there after {CANCEL_S:.0f} s. Look at it in the dashboard, "
                    "then run the same command again."
                )
            time.sleep(PAUSE_S)

    def _get(self, path: str) -> Any:
        return self._ask(path, "GET")

    def _ask(self, path: str, method: str) -> Any:
        """Return the JSON value that is answered, ``None`` where that is empty."""
        request = urllib.request.Request(f"{self.address}{path}", method=method)
        try:
            with urllib.request.urlopen(request, timeout=ANSWER_S) as answer:
                said = answer.read()
                return json.loads(said) if said.strip() else None
        except urllib.error.HTTPError as error:
            why = f"answers {error.code} to {method} {path}"
            raise self._unreached(why) from error
        except (OSError, ValueError, http.client.HTTPException) as error:
            why = f"does not answer ({getattr(error, 'reason', error)})"
            raise self._unreached(why) from error

    def _unreached(self, why: str) -> LatentlakeError:
        return LatentlakeError(
            f"engine.master {self.address}: Flink's job manager {why}. Start it "
            "(`make flink-up` on this machine), or mend the address; then run the same "
            "command again."
        )


def _host(task: dict[str, Any]) -> str:
    place = task.get("endpoint") or task.get("host") or "no host"
    return str(place).split(":")[0]
