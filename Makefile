# `make` alone prints what there is to do.

VENV ?= .venv
PYTHON ?= python3
# PyTorch's own wheel index: asked for the CPU build where the configured package index has none.
TORCH_INDEX ?= https://download.pytorch.org/whl/cpu
ARGS ?=

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TORCH := $(shell sed -n 's/^torch==//p' requirements.txt)

.DEFAULT_GOAL := help
.PHONY: help install demo test test-fast lint format clean

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## install into .venv whatever is missing

demo: $(STAMP)  ## train task=fnn of classify_mnist; more settings with ARGS="..."
	$(BIN)/python projects/classify_mnist/train.py task=fnn $(ARGS)

test: $(STAMP)  ## run all tests
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile $(ARGS)

test-fast: $(STAMP)  ## run the tests that take under a second or two
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile -m "not slow" $(ARGS)

lint: $(STAMP)  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## repair style where a machine can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove the virtual environment and caches, never data
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache

# A machine without an NVIDIA GPU gets the CPU build of torch, wherever it can be had; macOS has only that build.
$(STAMP): requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	if [ "$$(uname)" = Linux ] && ! command -v nvidia-smi > /dev/null; then \
		$(BIN)/pip install --quiet torch==$(TORCH)+cpu \
		|| $(BIN)/pip install --quiet --extra-index-url $(TORCH_INDEX) torch==$(TORCH)+cpu; \
	fi
	$(BIN)/pip install --quiet --requirement requirements.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@
