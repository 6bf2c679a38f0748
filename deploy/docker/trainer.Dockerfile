# The trainer: an Airflow worker that trains on an NVIDIA GPU with JAX.
#
#   docker build -f deploy/docker/trainer.Dockerfile -t latentlake-trainer .
#   docker run --gpus all --rm latentlake-trainer airflow edge worker -q gpu
#
# Two environments, which share nothing: Airflow's, which has nothing of ours, and the
# trainer's, which LATENTLAKE_PYTHON names to it. For a host without a GPU:
# --build-arg TRAINER=trainer.
FROM python:3.12-slim

ARG TRAINER=trainer-cuda
RUN pip install --no-cache-dir uv==0.13.9
ENV UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy

COPY requirements.lock /app/
COPY deploy/docker/airflow.txt deploy/docker/trainer.txt deploy/docker/trainer-cuda.txt /app/deploy/docker/
RUN uv venv /opt/airflow \
 && uv pip install --python /opt/airflow/bin/python \
      -r /app/deploy/docker/airflow.txt -c /app/requirements.lock
RUN uv venv /opt/latentlake \
 && uv pip install --python /opt/latentlake/bin/python \
      -r /app/deploy/docker/${TRAINER}.txt -c /app/requirements.lock

COPY setup.py pyproject.toml /app/
COPY pipelines /app/pipelines
COPY models /app/models
COPY dags /opt/dags
RUN uv pip install --python /opt/latentlake/bin/python --no-deps /app

RUN useradd --create-home --uid 50000 airflow \
 && install --directory --owner airflow /cache /home/airflow/airflow
USER airflow
WORKDIR /home/airflow
ENV PATH=/opt/airflow/bin:$PATH \
    AIRFLOW_HOME=/home/airflow/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/dags \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    LATENTLAKE_PYTHON=/opt/latentlake/bin/python \
    LATENTLAKE_CACHE=/cache
CMD ["airflow", "edge", "worker", "--queues", "gpu", "--concurrency", "1"]
