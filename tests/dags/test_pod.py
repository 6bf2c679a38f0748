"""The pod of the train task: its YAML judged, and handed on as Airflow hands it on."""

import json
import os
import pathlib
import subprocess
import sys

import pytest

DAGS = pathlib.Path(__file__).parents[2] / "dags"
EXAMPLE = DAGS.parent / "deploy" / "docker" / "gpu-pod.yaml"

SERIALISED = """
import json, sys
sys.path.insert(0, sys.argv[1])  # as Airflow does
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
bag = DagBag(sys.argv[1])
assert not bag.import_errors, bag.import_errors
dag = bag.dags["nightly_birds"]
text = json.dumps(DagSerialization.to_dict(dag))
tasks = DagSerialization.from_dict(json.loads(text)).task_dict.values()
said = {one.task_id: [one.queue, one.executor] for one in tasks}
config = next(one.executor_config for one in tasks if one.task_id == "train")
pod = config.get("pod_override")
if pod:
    from airflow.providers.cncf.kubernetes.pod_generator import PodGenerator
    from kubernetes import client
    base = client.V1Pod(spec=client.V1PodSpec(containers=[client.V1Container(
        name="base", image="airflow", env=[client.V1EnvVar("A", "1")])]))
    whole = PodGenerator.reconcile_pods(base, pod)
    said["pod"] = client.ApiClient().sanitize_for_serialization(whole)["spec"]
print(json.dumps(said))
"""


@pytest.fixture
def file(tmp_path):
    """Return a function that writes a pod and returns its path."""

    def write(text):
        (tmp_path / "pod.yaml").write_text(text)
        return str(tmp_path / "pod.yaml")

    return write


def test_a_sound_pod_is_read_as_kubernetes_reads_it():
    from latentlake_airflow import pod

    found = pod.override(str(EXAMPLE))

    (container,) = found.spec.containers
    assert container.name == "base"
    assert container.resources.limits == {"nvidia.com/gpu": "1"}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[", "is not YAML"),
        ("- a\n", "holds list"),
        ("kind: Service\n", "its kind is 'Service'"),
        ("spec:\n  containers:\n  - image: x\n", "is not a pod: .*name"),
        ("spec:\n  containers:\n  - name: main\n", "named 'base'"),
        ("spec:\n  nodeSelektor: {a: b}\n", r"no spec\.nodeSelektor"),
        (
            "spec:\n  containers:\n  - name: base\n    resource: {}\n",
            r"no spec\.containers\[0\]\.resource",
        ),
        ("spec: 3\n", "is not a pod|no spec"),
    ],
)
def test_a_pod_that_would_not_do_what_it_says_is_refused(file, text, said):
    from latentlake_airflow import pod

    path = file(text)
    pod.override.cache_clear()

    with pytest.raises(ValueError, match=said) as caught:
        pod.override(path)

    assert str(caught.value).startswith(path)


def serialised(tmp_path, **environment):
    """Return what a scheduler reads of the tasks, with the executors configured."""
    (tmp_path / "birds.toml").write_text('[source]\npath = "/images"\n')
    env = os.environ | {
        "AIRFLOW_HOME": str(tmp_path / "airflow"),
        "LATENTLAKE_DATASETS": str(tmp_path),
        **environment,
    }
    words = [sys.executable, "-c", SERIALISED, str(DAGS)]
    done = subprocess.run(words, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_scheduler_reads_the_pod_of_the_train_task_alone(tmp_path):
    found = serialised(
        tmp_path,
        AIRFLOW__CORE__EXECUTOR="LocalExecutor,KubernetesExecutor",
        LATENTLAKE_TRAIN_EXECUTOR="KubernetesExecutor",
        LATENTLAKE_TRAIN_POD=str(EXAMPLE),
    )

    spec = found.pop("pod")
    (container,) = spec["containers"]
    assert container["resources"]["limits"] == {"nvidia.com/gpu": "1"}
    assert {"name": "A", "value": "1"} in container["env"]
    assert spec["nodeSelector"]
    assert [one for one in found if found[one][1]] == ["train"]


def test_a_scheduler_sends_the_train_task_alone_to_the_queue_of_celery(tmp_path):
    found = serialised(
        tmp_path,
        AIRFLOW__CORE__EXECUTOR="LocalExecutor,CeleryExecutor",
        LATENTLAKE_TRAIN_EXECUTOR="CeleryExecutor",
        LATENTLAKE_TRAIN_QUEUE="gpu",
    )

    assert found["train"] == ["gpu", "CeleryExecutor"]
    assert {tuple(found[one]) for one in found if one != "train"} == {("default", None)}
