"""The parts of an Airflow on this machine: started in order, watched, stopped whole.

Also for tests and demos that want an Airflow of their own: an ``environment`` of
``airflow_home``, :func:`start_parts`, and :func:`down` in the end.
"""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import time
import urllib.request
from typing import Any

import psutil
from airflow_home import CHECKOUT

FIRST = "api-server"
AFTER = ("scheduler", "dag-processor", "triggerer")
NO_LOG_SERVER = {"scheduler", "triggerer"}
"""These would serve logs to the whole network; here the API reads the files itself."""
PATIENCE_S = 180.0
GRACE_S = 30.0


def begin(home: pathlib.Path, url: str) -> None:
    """Note in ``home`` that an Airflow is about to start there."""
    home.mkdir(parents=True, exist_ok=True)
    _write(home, {"url": url, "booted": psutil.boot_time(), "parts": {}})


def start_parts(
    home: pathlib.Path, env: dict[str, str], url: str, *, schedulers: int = 1
) -> None:
    """Start every part of Airflow, the API first, and wait for the DAGs."""
    say("Starting the API …")
    start(home, env, FIRST)
    wait_for(home, "the API", lambda: bool(health(url)))
    say("Starting the scheduler, the DAG processor and the triggerer …")
    for part in (*AFTER, *(f"scheduler-{n}" for n in range(2, schedulers + 1))):
        start(home, env, part)
    wait_for(home, "the scheduler", lambda: is_healthy(health(url), "scheduler"))
    if schedulers > 1:
        wait_for(home, "a scheduler", lambda: schedulers_alive(url) >= schedulers)
    say("Waiting for the DAGs …")
    folder = pathlib.Path(env["LATENTLAKE_DATASETS"])
    wanted = {f"nightly_{file.stem}" for file in folder.glob("*.toml")}
    wait_for(home, "the DAGs", lambda: wanted <= set(dag_ids(url)))


def start(home: pathlib.Path, env: dict[str, str], part: str) -> None:
    """Start one part of Airflow (``scheduler-2`` is a second scheduler).

    Its words go to a file, which nobody else may read.
    """
    log = home / f"{part}.log"
    command = part.rstrip("0123456789").rstrip("-")
    flags = ["--skip-serve-logs"] if command in NO_LOG_SERVER else []
    with open(os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o600), "ab") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", command, *flags],
            env=env,
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    value = state(home)
    value["parts"][part] = [process.pid, psutil.Process(process.pid).create_time()]
    _write(home, value)


def down(home: pathlib.Path) -> bool:
    """Stop what runs in ``home``, the newest part first; return whether any did."""
    found = running(home)
    for process in sorted(found, key=lambda one: one.pid, reverse=True):
        _tell(process, signal.SIGTERM)
    _, alive = psutil.wait_procs(found, timeout=GRACE_S)
    for process in {*alive, *running(home)}:
        _tell(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=GRACE_S)
    return bool(found)


def running(home: pathlib.Path) -> list[psutil.Process]:
    """Return every process of the Airflow in ``home``.

    Each part leads a session of its own, which its children share: unlike their
    environment, which some overwrite with their title, that stays readable.
    """
    known = state(home)
    if abs(known.get("booted", 0) - psutil.boot_time()) > 2:
        return []  # those numbers are of another life of this machine
    leaders: dict[int, float] = dict(known["parts"].values())
    return [
        process
        for process in psutil.process_iter()
        if _session(process) in leaders and _not_another(process, leaders)
    ]


def wait_for(home: pathlib.Path, what: str, is_there: Any) -> None:
    """Return once ``is_there()``; end with the reason where it never will be."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if is_there():
            return
        living = {process.pid for process in running(home)}
        for part, (pid, _) in state(home)["parts"].items():
            if pid not in living:
                log = home / f"{part}.log"
                raise SystemExit(f"Airflow's {part} ended by itself; why is in {log}")
        time.sleep(0.5)
    raise SystemExit(f"{what} did not come up in {PATIENCE_S:.0f} s; see {home}/*.log")


def health(url: str) -> dict[str, Any]:
    """Return what Airflow says of its parts; nothing while it is not there."""
    return _get(f"{url}/api/v2/monitor/health") or {}


def is_healthy(found: dict[str, Any], part: str) -> bool:
    """Return whether ``part`` says that it is well."""
    return bool(found.get(part, {}).get("status") == "healthy")


def schedulers_alive(url: str) -> int:
    """Return how many schedulers were heard of lately: health names one of them."""
    found = ask(url, "jobs?job_type=SchedulerJob&is_alive=true")
    return int(found.get("total_entries", 0))  # nothing while the API is slow


def dag_ids(url: str) -> list[str]:
    """Return the DAGs that Airflow knows."""
    return [dag["dag_id"] for dag in ask(url, "dags?limit=500").get("dags", [])]


def ask(url: str, what: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """Return what Airflow's API answers, or takes from ``body``; nothing if nothing."""
    token = (_get(f"{url}/auth/token") or {}).get("access_token")
    return _get(f"{url}/api/v2/{what}", token, body) or {}


def _get(url: str, token: str | None = None, body: Any = None) -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    data = None
    if body is not None:
        headers["Content-Type"] = "application/json"
        data = json.dumps(body).encode()
    try:
        request = urllib.request.Request(url, data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)
    except (OSError, ValueError):  # not there yet, or not yet itself
        return None


def state(home: pathlib.Path) -> dict[str, Any]:
    """Return what is known of the Airflow in ``home``: its page and its processes."""
    file = home / "state.json"
    value: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return value


def _write(home: pathlib.Path, value: dict[str, Any]) -> None:
    (home / "state.json").write_text(json.dumps(value))


def _session(process: psutil.Process) -> int | None:
    try:
        return os.getsid(process.pid)
    except OSError:
        return None


def _not_another(process: psutil.Process, leaders: dict[int, float]) -> bool:
    """Return whether ``process`` lives and has not merely inherited a number."""
    try:
        born = leaders.get(process.pid, process.create_time())
        same = abs(process.create_time() - born) < 1
        return bool(same and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False


def _tell(process: psutil.Process, signum: int) -> None:
    with contextlib.suppress(psutil.Error):
        process.send_signal(signum)


def say(line: str) -> None:
    """Print ``line`` at once."""
    print(line, flush=True)
