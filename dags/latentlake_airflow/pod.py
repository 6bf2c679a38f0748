"""The pod that a task runs in, as a YAML file says it: what differs from the others.

Imports ``kubernetes``, which takes seconds: this module is imported only where a pod is
configured.
"""

import functools
import os
from collections.abc import Iterator
from typing import Any

import yaml
from kubernetes import client

MAIN = "base"
"""Airflow runs the task in the container of this name."""


@functools.cache
def override(path: str) -> client.V1Pod:
    """Return the pod in the YAML file at ``path``.

    Raises:
        ValueError: It is not there, or not a pod, or says what Kubernetes has no word
            for; the message names the file and the key.
    """
    value = _read(path)
    if value.get("kind", "Pod") != "Pod":
        raise ValueError(f"{path}: its kind is {value['kind']!r}; a Pod is wanted")
    spec = value.get("spec")
    if isinstance(spec, dict):  # Kubernetes' client makes none without a container
        spec.setdefault("containers", [{"name": MAIN}])
    api = client.ApiClient()
    try:
        pod = api._ApiClient__deserialize_model(value, client.V1Pod)
        known = api.sanitize_for_serialization(pod)
    except (ValueError, TypeError, AttributeError) as error:
        raise ValueError(f"{path}: is not a pod: {error}") from error
    lost = sorted(_lost(value, known))
    if lost:
        raise ValueError(
            f"{path}: Kubernetes' pods have no {', '.join(lost)}; look at its spelling "
            "and its place"
        )
    names = [one.name for one in (pod.spec and pod.spec.containers) or []]
    if names and MAIN not in names:
        raise ValueError(
            f"{path}: none of its containers ({', '.join(names)}) is named {MAIN!r}; "
            "Airflow runs the task in the one of that name"
        )
    return pod


def _read(path: str) -> dict[str, Any]:
    try:
        with open(path, encoding="utf-8") as file:
            value = yaml.safe_load(file)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeError) as error:
        raise ValueError(f"{path}: is not YAML: {error}") from error
    if not isinstance(value, dict):
        found = type(value).__name__
        raise ValueError(f"{os.fspath(path)}: holds {found}; a pod is a mapping")
    return value


def _lost(given: Any, known: Any, place: str = "") -> Iterator[str]:
    """Yield the keys of ``given`` that ``known`` lacks: they would be left out."""
    if isinstance(given, dict):
        for key, value in given.items():
            here = f"{place}.{key}" if place else str(key)
            if not isinstance(known, dict) or (key not in known and value is not None):
                yield here
            elif value is not None:
                yield from _lost(value, known[key], here)
    elif isinstance(given, list) and isinstance(known, list):
        for number, (mine, theirs) in enumerate(zip(given, known, strict=False)):
            yield from _lost(mine, theirs, f"{place}[{number}]")
