#!/bin/sh
# Choose the images' versions anew: those of requirements.lock, and for what is not in
# it (CUDA) those that stood, else the newest. Needs the network.
#   deploy/docker/lock.sh [FOLDER]      FOLDER: where the .txt files are written
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
for name in trainer trainer-cuda airflow; do
    "${UV:-$root/.venv/bin/uv}" pip compile "$here/$name.in" \
        --constraints "$root/requirements.lock" --python-version 3.12 \
        --python-platform x86_64-manylinux_2_28 --no-header --no-annotate --quiet \
        --output-file "${1:-$here}/$name.txt"
done
