"""One night on real images through Airflow, in process: what ``make demo`` runs.

``python deploy/local/demo.py [FOLDER]``. Everything it makes is in ``.demo``:
the digits, an Airflow without a server, the lake. Run it again, and it finds nothing
new.
"""

import argparse
import hashlib
import os
import pathlib
import shutil
import subprocess
import sys
import time
import tomllib

import closing
from airflow_home import BUNDLED, CHECKOUT, environment, migrate
from narrator import Narrator
from rich.console import Console

HOME = CHECKOUT / ".demo"
DIGITS = HOME / "digits"

console = Console(highlight=False)


def main() -> None:
    """Run the demo; the exit code is 0 where the night came to its end."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "source",
        nargs="?",
        help="a folder of your own images, as a dataset of its own",
    )
    began = time.monotonic()
    source = parser.parse_args().source
    if source:
        dataset, datasets = own_dataset(source)
    else:
        dataset, datasets = "digits", BUNDLED
        write_digits()
    lake = HOME / "lake"
    env = environment(HOME / "airflow", str(lake), datasets)
    env["LATENTLAKE_RETRIES"] = "0"  # an accident is shown at once
    say("Preparing Airflow: its own folder and database, no server")
    migrate(env)
    narrator = run_night(dataset, env, HOME / "night.log")
    good = closing.show(console, closing.Night(lake, dataset, narrator, began))
    sys.exit(0 if good else 1)


def own_dataset(source: str) -> tuple[str, pathlib.Path]:
    """Return the dataset of the folder ``source``, and where its settings are."""
    from pipelines.commands.init import name_from

    folder = os.path.abspath(os.path.expanduser(source))
    datasets = HOME / "datasets"
    name = name_from(folder)
    file = datasets / f"{name}.toml"
    if file.exists() and _source_of(file) != folder:
        name = f"{name}_{hashlib.sha256(folder.encode()).hexdigest()[:6]}"
        file = datasets / f"{name}.toml"
    if not file.exists():
        say(f"Writing the settings of a new dataset, {name}: 64 × 64, RGB")
        done = subprocess.run(
            [sys.executable, "-m", "pipelines", "init", folder, "--name", name],
            env=os.environ | {"LATENTLAKE_DATASETS": str(datasets)},
            stdout=subprocess.DEVNULL,
            check=False,
        )
        if done.returncode:
            sys.exit(done.returncode)
    return name, datasets


def _source_of(file: pathlib.Path) -> str:
    return str(tomllib.loads(file.read_text())["source"]["path"])


def write_digits() -> None:
    """Write the demo's images, unless they are there; half of them are not."""
    if DIGITS.exists():
        return
    say("Writing the demo's images: 5,000 real digits, and some bad files among them")
    half = DIGITS.with_name("digits.half")
    shutil.rmtree(half, ignore_errors=True)
    script = pathlib.Path(__file__).with_name("digits.py")
    subprocess.run([sys.executable, str(script), str(half)], check=True)
    half.rename(DIGITS)


def run_night(dataset: str, env: dict[str, str], log: pathlib.Path) -> Narrator:
    """Run the DAG of ``dataset`` in process, tell of it, and keep the whole log."""
    dag = f"nightly_{dataset}"
    say(f"Airflow runs the DAG {dag}; its whole log goes to {log}")
    narrator = Narrator(console)
    command = [sys.executable, "-m", "airflow", "dags", "test", dag]
    with (
        log.open("w", encoding="utf-8") as file,
        subprocess.Popen(
            command,
            cwd=CHECKOUT,  # the digits' path starts here
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
        ) as airflow,
    ):
        for line in airflow.stdout or []:
            file.write(line)
            file.flush()
            narrator.hear(line)
    narrator.finish(airflow.returncode)
    return narrator


def say(line: str) -> None:
    """Tell the reader what happens next."""
    console.print(f"[bold]▸[/] {line}", soft_wrap=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit("Stopped. Nothing half-written is visible; `make demo` goes on.")
