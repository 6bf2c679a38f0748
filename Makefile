# latentlake: what people and CI use. `make` alone lists the targets.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	2>/dev/null && echo $$p && break; done)
UV_VERSION := 0.13.9
BIN := .venv/bin
READY := .venv/.ready
export TF_CPP_MIN_LOG_LEVEL ?= 3

.PHONY: help setup lock format lint types test test-all test-flink test-cluster demo \
	up down flink-up flink-down bench scoreboard clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

setup: $(READY) ## Make the environment .venv from the lock file

$(READY): requirements.lock setup.py
	@test -n "$(PYTHON)" || { echo "latentlake needs Python 3.11, 3.12 or 3.13 on \
	PATH; none was found. Install one, or name it: make setup PYTHON=/path/to/python3.12"; exit 2; }
	@echo "Making .venv with $(PYTHON): about 330 packages, 4.6 GB, some minutes"
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet uv==$(UV_VERSION)
	$(BIN)/uv pip install --quiet --compile-bytecode --python $(BIN)/python \
		-r requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --editable .
	@touch $(READY)

lock: ## Choose all versions anew (needs the network)
	$(BIN)/uv pip compile setup.py --extra all --universal --python-version 3.11 \
		--generate-hashes --no-header --quiet --output-file requirements.lock
	deploy/docker/lock.sh

format: $(READY) ## Format the code
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

lint: $(READY) ## Check format and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(READY) ## Check the types
	$(BIN)/mypy

test: $(READY) ## Run the default tests: no GPU, some minutes
	$(BIN)/pytest -m "not slow"

test-all: $(READY) ## Run every test, the slow ones too
	$(BIN)/pytest

test-flink: $(READY) ## The Beam stages on a Flink cluster of two hosts (root, Java, Maven)
	$(BIN)/pytest tests/flink

test-cluster: $(READY) ## Two nights on Flink, S3, Postgres and a GPU queue, all real
	$(BIN)/pytest tests/cluster

demo: $(READY) ## One night on real images, through Airflow; SOURCE=folder takes yours
	$(BIN)/python deploy/local/demo.py $(if $(SOURCE),"$(SOURCE)")

up: $(READY) ## Start Airflow's pages on this machine
	$(BIN)/python deploy/local/airflow.py up $(if $(SCHEDULERS),--schedulers $(SCHEDULERS))

down: ## Stop them
	$(BIN)/python deploy/local/airflow.py down

flink-up: $(READY) ## Start a Flink cluster of two hosts on this machine
	$(BIN)/python deploy/flink/flink_cluster.py up

flink-down: ## Stop it; nothing of it stays
	$(BIN)/python deploy/flink/flink_cluster.py down

bench: $(READY) ## Measure every stage against its limit; writes bench/results.md
	$(BIN)/python bench/run.py

scoreboard: $(READY) ## Judge the presets' features (ROWS="cifar10/conv"): bench/quality.md
	$(BIN)/python bench/quality.py $(ROWS)

clean: ## Remove the environment, the servers and what the demo made
	@if [ -x $(BIN)/python ]; then $(MAKE) --no-print-directory down flink-down; fi
	rm -rf .venv .demo .airflow .edge .flink .servers build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache
