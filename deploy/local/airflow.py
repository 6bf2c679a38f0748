"""Airflow's UI on this machine: ``python deploy/local/airflow.py up`` and ``down``.

``up`` starts the parts in the order that works (the API first: a task that starts
before it is up fails), waits until the DAGs are there and says where to look. ``down``
stops them, and whatever they started.
"""

import argparse
import contextlib
import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from typing import Any

import psutil
from airflow_home import BUNDLED, CHECKOUT, environment, migrate

FIRST = "api-server"
AFTER = ("scheduler", "dag-processor", "triggerer")
NO_LOG_SERVER = {"scheduler", "triggerer"}
"""These would serve logs to the whole network; here the API reads the files itself."""
PATIENCE_S = 180.0
GRACE_S = 30.0


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("verb", choices=["up", "down"])
    parser.add_argument("--home", type=pathlib.Path, default=CHECKOUT / ".airflow")
    parser.add_argument("--port", type=int, default=8080)
    given = parser.parse_args()
    home = given.home.absolute()
    if given.verb == "down":
        down(home)
    else:
        up(home, given.port)


def up(home: pathlib.Path, port: int) -> None:
    """Start Airflow in ``home``, unless it runs already."""
    if running(home):
        say(f"Airflow is already up at {_state(home)['url']}; `make down` stops it.")
        return
    require_free_port(port)
    datasets = pathlib.Path(os.environ.get("LATENTLAKE_DATASETS", BUNDLED)).absolute()
    lake = os.environ.get("LATENTLAKE_LAKE") or str(CHECKOUT / "lake")
    env = environment(home, lake, datasets, port)
    url = f"http://localhost:{port}"
    (home / "state.json").write_text(
        json.dumps({"url": url, "booted": psutil.boot_time(), "parts": {}})
    )
    write_digits()
    say("Preparing Airflow's database …")
    migrate(env)
    try:
        start_parts(home, env, url)
    except BaseException:
        down(home)
        raise
    say(f"\nAirflow is up:  {url}   (no login: everyone on this machine is admin)")
    say(f"DAGs:           {', '.join(sorted(dag_ids(url)))}")
    say(f"Datasets:       {datasets}\nLake:           {lake}")
    say("Open nightly_digits and press Trigger. `make down` stops Airflow.")


def start_parts(home: pathlib.Path, env: dict[str, str], url: str) -> None:
    """Start every part of Airflow, the API first, and wait for the DAGs."""
    say("Starting the API …")
    start(home, env, FIRST)
    wait_for(home, "the API", lambda: bool(health(url)))
    say("Starting the scheduler, the DAG processor and the triggerer …")
    for part in AFTER:
        start(home, env, part)
    wait_for(home, "the scheduler", lambda: is_healthy(health(url), "scheduler"))
    say("Waiting for the DAGs …")
    folder = pathlib.Path(env["LATENTLAKE_DATASETS"])
    wanted = {f"nightly_{file.stem}" for file in folder.glob("*.toml")}
    wait_for(home, "the DAGs", lambda: wanted <= set(dag_ids(url)))


def down(home: pathlib.Path) -> None:
    """Stop what runs in ``home``, the newest part first; leave nothing behind."""
    found = running(home)
    if not found:
        say("Airflow is not up.")
        return
    for process in sorted(found, key=lambda one: one.pid, reverse=True):
        _tell(process, signal.SIGTERM)
    _, alive = psutil.wait_procs(found, timeout=GRACE_S)
    for process in {*alive, *running(home)}:
        _tell(process, signal.SIGKILL)
    psutil.wait_procs(alive, timeout=GRACE_S)
    say("Airflow is down.")


def running(home: pathlib.Path) -> list[psutil.Process]:
    """Return every process of the Airflow in ``home``.

    Each part leads a session of its own, which its children share: unlike their
    environment, which some overwrite with their title, that stays readable.
    """
    state = _state(home)
    if abs(state.get("booted", 0) - psutil.boot_time()) > 2:
        return []  # those numbers are of another life of this machine
    leaders: dict[int, float] = dict(state["parts"].values())
    return [
        process
        for process in psutil.process_iter()
        if _session(process) in leaders and _not_another(process, leaders)
    ]


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


def start(home: pathlib.Path, env: dict[str, str], part: str) -> None:
    """Start one part of Airflow; its words go to a file."""
    log = home / f"{part}.log"
    flags = ["--skip-serve-logs"] if part in NO_LOG_SERVER else []
    with log.open("ab") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "airflow", part, *flags],
            env=env,
            cwd=CHECKOUT,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    state = _state(home)
    state["parts"][part] = [process.pid, psutil.Process(process.pid).create_time()]
    (home / "state.json").write_text(json.dumps(state))


def wait_for(home: pathlib.Path, what: str, is_there: Any) -> None:
    """Return once ``is_there()``; end with the reason where it never will be."""
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if is_there():
            return
        living = {process.pid for process in running(home)}
        for part, (pid, _) in _state(home)["parts"].items():
            if pid not in living:
                log = home / f"{part}.log"
                raise SystemExit(f"Airflow's {part} ended by itself; why is in {log}")
        time.sleep(0.5)
    raise SystemExit(f"{what} did not come up in {PATIENCE_S:.0f} s; see {home}/*.log")


def require_free_port(port: int) -> None:
    """End with a plain message where another program has ``port``."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            raise SystemExit(
                f"Port {port} is taken by another program. Stop that one, or choose "
                f"another: python deploy/local/airflow.py up --port {port + 1}"
            ) from None


def write_digits() -> None:
    """Write the demo's images, unless they are there."""
    folder = CHECKOUT / ".demo" / "digits"
    if not folder.exists():
        script = pathlib.Path(__file__).with_name("digits.py")
        subprocess.run([sys.executable, str(script), str(folder)], check=True)


def health(url: str) -> dict[str, Any]:
    """Return what Airflow says of its parts; nothing while it is not there."""
    return _get(f"{url}/api/v2/monitor/health") or {}


def is_healthy(found: dict[str, Any], part: str) -> bool:
    """Return whether ``part`` says that it is well."""
    return bool(found.get(part, {}).get("status") == "healthy")


def dag_ids(url: str) -> list[str]:
    """Return the DAGs that Airflow knows."""
    token = _get(f"{url}/auth/token") or {}
    found = _get(f"{url}/api/v2/dags?limit=500", token.get("access_token")) or {}
    return [dag["dag_id"] for dag in found.get("dags", [])]


def _get(url: str, token: str | None = None) -> Any:
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    try:
        request = urllib.request.Request(url, headers=headers)
        with urllib.request.urlopen(request, timeout=10) as answer:
            return json.load(answer)
    except (OSError, ValueError):  # not there yet, or not yet itself
        return None


def _state(home: pathlib.Path) -> dict[str, Any]:
    file = home / "state.json"
    state: dict[str, Any] = json.loads(file.read_text()) if file.exists() else {}
    return state


def _tell(process: psutil.Process, signum: int) -> None:
    with contextlib.suppress(psutil.Error):
        process.send_signal(signum)


def say(line: str) -> None:
    """Print ``line`` at once."""
    print(line, flush=True)


if __name__ == "__main__":
    main()
