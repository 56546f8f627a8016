# Everything happens in .venv; a stamp under .venv remembers what is installed, so that nothing is installed twice.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := run
.PHONY: install protos lint test coverage test-all test-gpu bench serve run image audit

PYTHON ?= $(shell for p in python3.11 python3; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && echo $$p && break; done)
VENV := .venv
BIN := $(VENV)/bin
STAMPS := $(VENV)/stamps

# The GPU build of onnxruntime needs a driver for CUDA 13.
CUDA := $(shell nvidia-smi 2>/dev/null | sed -nE 's/.*CUDA[A-Za-z ]*Version: *([0-9]+).*/\1/p' | head -n 1)
RUNTIME ?= $(shell [ "$(or $(CUDA),0)" -ge 13 ] && echo gpu || echo cpu)
WHY_CPU := no NVIDIA driver with CUDA 13 or later here, so the CPU build of onnxruntime is installed

# pip, less the lines that say that something is there already.
PIP_INSTALL = $(1) -m pip install --disable-pip-version-check $(2) \
	| { grep --line-buffered -E '^( *Downloading|Installing collected)' || true; } | cut -c -120

install: $(STAMPS)/$(RUNTIME)

$(BIN)/python:
	@[ -n "$(PYTHON)" ] || { echo "error: Ocella needs Python 3.11 or later, and none was found" >&2; exit 1; }
	@echo "creating $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

define install_extras
	@mkdir -p $(STAMPS)
	@[ $(RUNTIME) = gpu ] || echo "$(WHY_CPU)"
	@echo "installing ocella[$(1)] into $(VENV)"
	@$(call PIP_INSTALL,$(BIN)/python,--editable '.[$(1)]')
endef
comma := ,

$(STAMPS)/$(RUNTIME): pyproject.toml | $(BIN)/python
	$(call install_extras,$(RUNTIME))
	@touch $@

$(STAMPS)/$(RUNTIME)-import: pyproject.toml | $(BIN)/python
	$(call install_extras,$(RUNTIME)$(comma)import)
	@touch $@ $(STAMPS)/$(RUNTIME)

$(STAMPS)/$(RUNTIME)-dev: pyproject.toml | $(BIN)/python
	$(call install_extras,$(RUNTIME)$(comma)export$(comma)data$(comma)faces$(comma)otel$(comma)ray$(comma)dev)
	@touch $@ $(STAMPS)/$(RUNTIME) $(STAMPS)/$(RUNTIME)-import

# The generated code needs at least the protobuf of its generator: an old one, in an environment of its own.
protos: .venv-protos/stamp
	.venv-protos/bin/python -m grpc_tools.protoc -I . --python_out=. --pyi_out=. --grpc_python_out=. \
		$(shell find protos -name '*.proto' | sort)

.venv-protos/stamp: | $(BIN)/python
	@$(BIN)/python -m venv .venv-protos
	@echo "installing grpcio-tools 1.74.0"
	@$(call PIP_INSTALL,.venv-protos/bin/python,grpcio-tools==1.74.0 'setuptools<81')
	@touch $@

lint: $(STAMPS)/$(RUNTIME)-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo

test: $(STAMPS)/$(RUNTIME)-dev
	$(BIN)/python -m pytest -m "not slow" $(PYTEST)

# The part that others import for itself, by its own tests.
coverage: $(STAMPS)/$(RUNTIME)-dev
	$(BIN)/python -m coverage run --source=pipelines -m pytest -q -m "not slow" tests/pipelines $(PYTEST)
	$(BIN)/python -m coverage report --fail-under=95

# Tests against a real Prometheus and docker-compose are skipped without: apt-get install prometheus docker-compose
test-all: $(STAMPS)/$(RUNTIME)-dev
	$(BIN)/python -m pytest $(PYTEST)

# On a machine with a CUDA device; elsewhere each says why it is skipped.
test-gpu: $(STAMPS)/$(RUNTIME)-dev
	$(BIN)/python -m pytest tests/gpu $(PYTEST)

bench: $(STAMPS)/$(RUNTIME)-dev
	@for benchmark in $(filter-out __init__,$(basename $(notdir $(sort $(wildcard benchmarks/*.py))))); do \
		echo "$$benchmark"; $(BIN)/python -m benchmarks.$$benchmark; done

run: $(STAMPS)/$(RUNTIME)-import
	$(BIN)/python examples/tour.py --out out

serve: $(STAMPS)/$(RUNTIME)-import
	$(BIN)/python examples/tour.py --out out --keep

# Known faults of what is installed, as PyPI's own service tells them: a mirror of its files is not enough.
audit: $(STAMPS)/$(RUNTIME)-dev | .venv-audit/stamp
	$(BIN)/python -m pip freeze --exclude-editable > .venv-audit/installed.txt
	.venv-audit/bin/pip-audit --requirement .venv-audit/installed.txt --no-deps --disable-pip --strict

.venv-audit/stamp: | $(BIN)/python
	@$(BIN)/python -m venv .venv-audit
	@echo "installing pip-audit"
	@$(call PIP_INSTALL,.venv-audit/bin/python,'pip-audit>=2.9$(comma)<3')
	@touch $@

image:
	docker build --build-arg RUNTIME=$(RUNTIME) --build-arg REVISION=$(shell git rev-parse HEAD) --tag ocella:$(RUNTIME) .
