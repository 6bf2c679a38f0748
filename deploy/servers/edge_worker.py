"""An Airflow worker that is somewhere else: tasks of one queue come to it over HTTP.

    python deploy/local/airflow.py up --train-queue gpu
    python deploy/servers/edge_worker.py [--queue gpu] [--airflow http://127.0.0.1:8080]

It needs no database and no broker, only the address of Airflow's API, the secret that
both share (``.airflow/jwt_secret``, or ``AIRFLOW__API_AUTH__JWT_SECRET``) and the same
``LATENTLAKE_LAKE`` and ``LATENTLAKE_DATASETS``. Airflow itself must be started with
what ``central`` returns.
"""

import argparse
import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping

import psutil
from processes import CannotStart

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
EXECUTOR = "airflow.providers.edge3.executors.EdgeExecutor"
START_PATIENCE_S = 180.0
GRACE_S = 40.0


def central(url: str, queue: str = "gpu") -> dict[str, str]:
    """Return what an Airflow at ``url`` needs to know, so that it trains on ``queue``.

    Every part of it needs the same; its other tasks stay where they are.
    """
    return {
        "AIRFLOW__CORE__EXECUTOR": f"LocalExecutor,{EXECUTOR}",
        "AIRFLOW__EDGE__API_ENABLED": "True",
        "AIRFLOW__EDGE__API_URL": f"{url}/edge_worker/v1/rpcapi",
        "LATENTLAKE_TRAIN_EXECUTOR": EXECUTOR,
        "LATENTLAKE_TRAIN_QUEUE": queue,
    }


class Worker:
    """An Edge worker on this machine.

    Attributes:
        name: What Airflow knows it by; no two have the same.
        home: Its own ``AIRFLOW_HOME``, with no database in it.
        log: What it says.
    """

    def __init__(self, name: str, home: pathlib.Path) -> None:
        self.name, self.home = name, home
        self.log = home / "worker.log"
        self._process: psutil.Popen | None = None

    def start(self, airflow: Mapping[str, str], queue: str, concurrency: int) -> None:
        """Start it for the Airflow of that environment; return once it is known there.

        Raises:
            CannotStart: It ended, or was not heard of in time, or another one works
                in its folder.
        """
        self.home.mkdir(parents=True, exist_ok=True)
        known = self.home / "airflow-edge-worker.pid"  # written once it is registered
        _clear(known)
        env = {
            name: value
            for name, value in airflow.items()
            if not name.startswith("AIRFLOW__DATABASE__")  # it is none of its business
        }
        words = ["--queues", queue, "--edge-hostname", self.name]
        words += ["--concurrency", str(concurrency)]
        with open(os.open(self.log, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as out:
            self._process = psutil.Popen(
                [sys.executable, "-m", "airflow", "edge", "worker", *words],
                env=env | {"AIRFLOW_HOME": str(self.home)},
                cwd=self.home,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        end = time.monotonic() + START_PATIENCE_S
        while not known.exists():
            if self._process.poll() is not None:
                raise CannotStart(
                    f"the worker {self.name} ended by itself; the end of {self.log}:\n"
                    + "\n".join(self.log.read_text().splitlines()[-15:])
                )
            if time.monotonic() > end:
                self.kill()
                raise CannotStart(
                    f"the worker {self.name} was not registered in "
                    f"{START_PATIENCE_S:.0f} s; what it said is in {self.log}"
                )
            time.sleep(0.2)

    def processes(self) -> list[psutil.Process]:
        """Return the worker and everything it started, oldest first."""
        if self._process is None or not self._process.is_running():
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            return [self._process, *self._process.children(recursive=True)]
        return []

    def wait(self) -> int:
        """Return the worker's exit code, once it has one."""
        return 0 if self._process is None else int(self._process.wait())

    def stop(self) -> None:
        """Ask it to end, and its tasks; what has not ended in time is killed."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.terminate()
        with contextlib.suppress(psutil.TimeoutExpired):
            self._process.wait(GRACE_S)
            return
        self.kill()

    def kill(self) -> None:
        """End it and everything it started at once, as a power cut does."""
        for signum in (signal.SIGSTOP, signal.SIGKILL):  # nobody sees another die
            for process in (found := self.processes()):
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signum)
        psutil.wait_procs(found, timeout=GRACE_S)


def _clear(known: pathlib.Path) -> None:
    """Take away the word of a worker that was killed; one that lives keeps its own."""
    try:
        other = psutil.Process(int(known.read_text()))
        lives = "edge" in " ".join(other.cmdline())
    except (FileNotFoundError, ValueError, psutil.Error):
        lives = False
    if lives:
        raise CannotStart(
            f"{known.parent}: a worker works there already (process {other.pid}). "
            "Stop it, or give another folder (--home)."
        )
    known.unlink(missing_ok=True)


@contextlib.contextmanager
def working(
    airflow: Mapping[str, str],
    home: pathlib.Path,
    *,
    queue: str = "gpu",
    name: str | None = None,
    concurrency: int = 1,
) -> Iterator[Worker]:
    """Yield a worker for the Airflow of the environment ``airflow``; stop it after.

    Args:
        airflow: What the parts of that Airflow are started with: its address, its
            secret, and the settings of tasks.
        home: A folder of the worker's own.
        queue: Whose tasks it takes.
        name: What Airflow is to call it.
        concurrency: Tasks at once.
    """
    worker = Worker(name or f"{queue}-{socket.gethostname()}-{os.getpid()}", home)
    try:
        worker.start(airflow, queue, concurrency)
        yield worker
    finally:
        worker.stop()


def main() -> None:
    """Work for the Airflow that the command line names, until Ctrl-C."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queue", default="gpu")
    parser.add_argument("--airflow", default="http://127.0.0.1:8080")
    parser.add_argument("--home", type=pathlib.Path, default=CHECKOUT / ".edge")
    secret = CHECKOUT / ".airflow" / "jwt_secret"
    parser.add_argument("--secret", type=pathlib.Path, default=secret, metavar="FILE")
    given = parser.parse_args()
    env = of_a_person(given.airflow.rstrip("/"), given.queue, given.secret)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with working(env, given.home.absolute(), queue=given.queue) as worker:
            print(f"{worker.name} works on queue {given.queue}; Ctrl-C stops it.")
            print(f"What it says is in {worker.log}", flush=True)
            raise SystemExit(worker.wait())
    except KeyboardInterrupt:
        return
    except CannotStart as error:
        raise SystemExit(str(error)) from None


def of_a_person(url: str, queue: str, secret: pathlib.Path) -> dict[str, str]:
    """Return the environment of a worker for the Airflow at ``url``.

    What the caller's environment says wins: the lake, the datasets, keys, interpreter.
    """
    shared = "AIRFLOW__API_AUTH__JWT_SECRET"
    if shared not in os.environ and not secret.exists():
        raise SystemExit(
            f"{secret}: is missing. Airflow and its workers share a secret: set "
            f"{shared}, or copy the file from the host of Airflow and give --secret."
        )
    ours = {
        "AIRFLOW__CORE__DAGS_FOLDER": str(CHECKOUT / "dags"),
        "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
        "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{url}/execution/",
        "LATENTLAKE_DATASETS": str(CHECKOUT / "dags" / "datasets"),
        "LATENTLAKE_LAKE": str(CHECKOUT / "lake"),
        "LATENTLAKE_PYTHON": sys.executable,
        "PYTHONUNBUFFERED": "1",
        **central(url, queue),
    }
    if secret.exists():
        ours[shared] = secret.read_text()
    return ours | dict(os.environ)


if __name__ == "__main__":
    main()
