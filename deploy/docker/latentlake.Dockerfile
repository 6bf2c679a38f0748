# The whole of it in one environment: Airflow's parts, every stage, and the workers of
# Beam beside Flink's task managers (python -m apache_beam.runners.worker.worker_pool_main).
#
#   docker build -f deploy/docker/latentlake.Dockerfile -t latentlake .
FROM python:3.12-slim

RUN pip install --no-cache-dir uv==0.13.9
ENV UV_NO_CACHE=1 UV_COMPILE_BYTECODE=1 UV_LINK_MODE=copy UV_SYSTEM_PYTHON=1

COPY requirements.lock /app/
RUN uv pip install -r /app/requirements.lock

COPY setup.py pyproject.toml /app/
COPY pipelines /app/pipelines
COPY models /app/models
COPY dags /opt/dags
RUN uv pip install --no-deps /app

RUN useradd --create-home --uid 50000 airflow
USER airflow
WORKDIR /home/airflow
ENV AIRFLOW_HOME=/home/airflow/airflow \
    AIRFLOW__CORE__DAGS_FOLDER=/opt/dags \
    AIRFLOW__CORE__LOAD_EXAMPLES=False \
    TF_CPP_MIN_LOG_LEVEL=3
CMD ["airflow", "scheduler"]
