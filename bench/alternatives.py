"""Judge other settings of a preset on held-out training images of CIFAR-10.

    python bench/alternatives.py                          the list of decision 0014
    python bench/alternatives.py temperature=0.2 flip=false   one of your own

Each is trained from seed 0 for a few epochs on 45,000 training images, by one process
on one core, and judged on the other 5,000: the linear probe at its best strength, and
k-NN, both as on the scoreboard. Test images are not looked at. One JSON line each;
`--out` keeps them, and skips those that it has.
"""

import argparse
import json
import os
import pathlib
import shutil
import subprocess
import sys
from typing import Any

from quality.alone import ALONE, keep_to_one_core

HERE = pathlib.Path(__file__).parent
WORK = HERE / ".scoreboard-work"
ALTERNATIVES: tuple[dict[str, Any], ...] = (
    {},
    {"colours": False},
    {"train.learning_rate": 0.005},
    {"temperature": 0.2},
    {"momentum": 0.8},
    {"view_scale": 1.0},
    {"preset": "patch"},
)
"""Settings beside the default's, each as on the command line."""


def main() -> int:
    """Print a line for each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("settings", nargs="*", metavar="KEY=VALUE")
    parser.add_argument("--epochs", type=int, default=5)
    parser.add_argument("--out", type=pathlib.Path)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    flags = parser.parse_args()
    asked = dict(pair.split("=", 1) for pair in flags.settings)
    given = {key: plain(value) for key, value in asked.items()}
    if flags.one:
        print(json.dumps(judged(given, flags.epochs)), flush=True)
        return 0
    done = flags.out.read_text() if flags.out and flags.out.exists() else ""
    failed = False
    for settings in [given] if given else ALTERNATIVES:
        if json.dumps(settings) in done:
            continue
        line = apart(settings, flags.epochs)
        failed |= not line
        print(line, flush=True)
        if flags.out and line:
            with flags.out.open("a") as file:
                file.write(f"{line}\n")
    return int(failed)


def apart(settings: dict[str, Any], epochs: int) -> str:
    """Return the line of ``settings``, made by a process of its own."""
    pairs = [f"{key}={json.dumps(value)}" for key, value in settings.items()]
    command = [sys.executable, __file__, "--one", "--epochs", str(epochs), *pairs]
    done = subprocess.run(
        command, env=os.environ | ALONE, stdout=subprocess.PIPE, text=True, check=False
    )
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return lines[-1] if lines else ""


def judged(settings: dict[str, Any], epochs: int) -> dict[str, Any]:
    """Return what ``settings`` are worth, in this process."""
    keep_to_one_core()
    from quality import coders, datasets, kept, probes, speed
    from quality.coders import Places
    from quality.measure import Meter
    from quality.rows import Row

    train = {key.removeprefix("train."): value for key, value in settings.items()
             if key.startswith("train.")}  # fmt: skip
    encoder = {k: v for k, v in settings.items() if not k.startswith("train.")}
    row = Row(
        "alternative",
        "preset",
        {"preset": "instance"} | encoder,
        {"epochs": epochs} | train,
    )
    dataset = datasets.DATASETS["cifar10"]
    images = datasets.load(dataset, WORK / dataset.name)
    held_out = images.held_out
    own = f"alternative-{os.getpid()}"
    places = Places(WORK / dataset.name, own, dataset.shape)
    try:
        places.examples("train", images)  # written before the clock counts
        places.examples("held_out", images)
        meter = Meter(places.fit / "cpu_seconds.json")
        coders.save(coders.train(row, images, 0, places, meter), places, images)
        seconds = meter.seconds
        coder = coders.Saved(places.artifact)
    finally:
        shutil.rmtree(WORK / dataset.name / own)
    latents = coder.encode(images.train)
    encoded = speed.rate(coder.encode, images.train[held_out])
    chosen = probes.choose(latents, images.labels, held_out)
    known = latents[~held_out], images.labels[~held_out]
    right = probes.neighbours(*known, latents[held_out]) == images.labels[held_out]
    return {
        "settings": settings,
        "epochs": epochs,
        "linear": round(100 * max(chosen.tried.values()), 2),
        "knn": round(100 * float(right.mean()), 2),
        "cpu_minutes": round(seconds / 60, 2),
        "images_a_second": round(encoded),
        "processor": kept.processor(),
    }


def plain(value: str) -> Any:
    """Return ``value`` as JSON has it, else as it stands."""
    try:
        return json.loads(value)
    except json.JSONDecodeError:
        return value


if __name__ == "__main__":
    sys.exit(main())
