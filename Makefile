# `make` alone prints what there is to do.

VENV ?= .venv
PYTHON ?= python3
# PyTorch's own wheel index: asked for the CPU build where the configured package index has none, and by images.
TORCH_INDEX ?= https://download.pytorch.org/whl
ARGS ?=

PROJECT ?= classify_mnist
MODE ?= cpu
ENGINE ?= $(shell command -v podman > /dev/null && echo podman || echo docker)
IMAGE := ai-research:$(MODE)_latest
IMAGE_ARGS ?=
# What a container writes belongs to who started it: rootless Podman's root is that user, Docker is told the user.
USER_docker := --user $(shell id -u):$(shell id -g)
DEVICES_docker_cuda := --gpus all
DEVICES_podman_cuda := --device nvidia.com/gpu=all
DEVICES_docker_7800xt := --device /dev/kfd --device /dev/dri --group-add video --group-add render
DEVICES_podman_7800xt := --device /dev/kfd --device /dev/dri --group-add keep-groups

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
TORCH := $(shell sed -n 's/^torch==//p' requirements.txt)

.DEFAULT_GOAL := help
.PHONY: help install demo test test-fast test-container lint format image container clean

help:  ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP)  ## install into .venv whatever is missing

demo: $(STAMP)  ## train task=fnn of classify_mnist; more settings with ARGS="..."
	$(BIN)/python projects/classify_mnist/train.py task=fnn $(ARGS)

# Tests share the processors: threads that wait for each other by spinning would keep the others' from working.
test test-fast: export OMP_WAIT_POLICY := passive

test: $(STAMP)  ## run all tests
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder -m "not container" $(ARGS)

test-fast: $(STAMP)  ## run the tests that take under a second or two
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder -m "not slow and not container" $(ARGS)

test-container: $(STAMP)  ## build the cpu image and run a task inside, with buildah
	$(BIN)/python -m pytest tests/containers -m container $(ARGS)

lint: $(STAMP)  ## check style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## repair style where a machine can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

image:  ## build the image for MODE=cpu, cuda or 7800xt; further build arguments with IMAGE_ARGS="..."
	$(ENGINE) build --build-arg MODE=$(MODE) --build-arg TORCH_INDEX=$(TORCH_INDEX) $(IMAGE_ARGS) -t $(IMAGE) .

container:  ## run PROJECT in the image for MODE, with ARGS="task=fnn"
	$(ENGINE) run --rm $(USER_$(ENGINE)) $(DEVICES_$(ENGINE)_$(MODE)) \
		-e AI_RESEARCH_PATH=$(CURDIR) -e PYTHONPATH=$(CURDIR) -v $(CURDIR):$(CURDIR) -v /dev/shm:/dev/shm \
		-w $(CURDIR) $(IMAGE) python projects/$(PROJECT)/train.py $(ARGS)

clean:  ## remove the virtual environment and caches, never data
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache

# A machine without an NVIDIA GPU gets the CPU build of torch, wherever it can be had; macOS has only that build.
$(STAMP): requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	if [ "$$(uname)" = Linux ] && ! command -v nvidia-smi > /dev/null; then \
		$(BIN)/pip install --quiet torch==$(TORCH)+cpu \
		|| $(BIN)/pip install --quiet --extra-index-url $(TORCH_INDEX)/cpu torch==$(TORCH)+cpu; \
	fi
	$(BIN)/pip install --quiet --requirement requirements.txt
	$(BIN)/pip install --quiet --no-deps --editable .
	touch $@
