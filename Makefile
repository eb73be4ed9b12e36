# Everything lands in .venv and models/; nothing outside this folder is touched.

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
PIP_ARGS ?=
PORT ?=
ARGS ?=
MODELS ?= models
JOBS ?= $(shell nproc)

VENV := .venv
NATIVE := $(wildcard engine/kernels/cpu/native/*)
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check $(PIP_ARGS) -c constraints.txt

.PHONY: help run test test-slow clients chaos sanitize arm triton gpu lint types models bench bench-peer bench-cpu bench-gateway bench-check clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  PORT=8081               where 'make run' listens (8080)"
	@echo "  ARGS='--memory 2GiB'    more arguments for roundhouse serve, pytest or the benchmarks"
	@echo "  JOBS=1                  how many tests run side by side (one for each core)"
	@echo "  MODELS=DIR              the models folder (models)"
	@echo "  PYTHON=python3.12       which Python makes .venv (python3; 3.11 or newer)"
	@echo "  PIP_ARGS=...            options for pip, such as another package index"

run: $(VENV)/.run models ## install, bring the demo models, serve on http://127.0.0.1:8080
	@$(BIN)/roundhouse serve --models-dir $(MODELS) $(if $(PORT),--port $(PORT)) $(ARGS)

test: $(VENV)/.dev models ## install with test tools, run the tests
	$(BIN)/python -m pytest -n $(JOBS) --dist loadfile -m "not slow and not gpu" $(ARGS)

test-slow: $(VENV)/.dev models ## run the tests that take minutes
	$(BIN)/python -m pytest -m slow $(ARGS)

clients: $(VENV)/.dev models ## run other people's clients against it (docs/clients.md)
	$(BIN)/python -m pytest -m slow tests/clients $(ARGS)

chaos: $(VENV)/.dev ## two minutes of requests, unloads and killed processes, and what must hold
	$(BIN)/python bench/chaos.py $(ARGS)

sanitize: $(VENV)/.dev ## run the native kernels' tests under address and undefined behaviour sanitizers
	$(INSTALL) -q cmake ninja
	$(BIN)/cmake -S engine/kernels/cpu/native -B build/sanitize -G Ninja -DROUNDHOUSE_SANITIZE=ON \
		-DCMAKE_MAKE_PROGRAM=$(CURDIR)/$(BIN)/ninja >build/sanitize.log
	$(BIN)/ninja -C build/sanitize
	LD_PRELOAD=$$($${CXX:-c++} -print-file-name=libasan.so) ASAN_OPTIONS=detect_leaks=0 \
		ROUNDHOUSE_NATIVE=build/sanitize/_native.so $(BIN)/python -m pytest -q -n $(JOBS) \
		tests/engine/kernels/cpu tests/engine/sampling tests/engine/models/test_programs.py $(ARGS)

triton: $(VENV)/.dev ## interpret and compile all GPU kernels, without a GPU (an hour or two)
	$(BIN)/python -m pytest -n $(JOBS) tests/engine/kernels/triton $(ARGS)

gpu: $(VENV)/.dev ## run what needs a GPU, and measure it (docs/gpu.md)
	ROUNDHOUSE_GPU_TESTS=1 $(BIN)/python -m pytest -q tests/engine/kernels/triton tests/engine/devices -m "not slow"
	$(BIN)/python bench/gpu.py $(ARGS)

arm: ## run the native kernels' tests on an emulated ARM CPU (Debian; an hour or two)
	PYTHON=$(PYTHON) .ci/arm $(ARGS)

lint: $(VENV)/.dev ## ruff and import-linter
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports

types: $(VENV)/.dev ## mypy, strict
	$(BIN)/mypy

models: $(VENV)/.run ## bring the demo models only
	@$(BIN)/python -m gateway demo $(MODELS)

bench: $(VENV)/.dev models ## measure swaps and decoding on the demo models
	MODELS=$(MODELS) $(BIN)/python bench/swap.py --models smollm2,gemma --only ours
	$(BIN)/python bench/decode.py --models-dir $(MODELS) $(ARGS)

bench-peer: $(VENV)/.dev ## build llama.cpp, to compare with (ten minutes)
	$(BIN)/python bench/peer.py

bench-cpu: $(VENV)/.dev models ## measure our engine against llama.cpp (docs/performance.md)
	MODELS=$(MODELS) $(BIN)/python bench/cpu.py $(ARGS)

bench-gateway: $(VENV)/.dev ## measure what the gateway itself costs, beside LiteLLM's proxy
	$(BIN)/python bench/litellm_proxy.py
	$(BIN)/python bench/overhead.py $(ARGS)

bench-check: $(VENV)/.dev models ## measure what the baseline has, and fail where we are slower
	MODELS=$(MODELS) $(BIN)/python bench/check.py $(ARGS)

clean: ## remove .venv and caches; models stay
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find gateway engine tests bench -name __pycache__ -type d -prune -exec rm -rf {} +

# Stamps say what is installed: the second time costs nothing, a changed pin installs anew.

$(VENV)/.made:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "Python 3.11 or newer is needed, $(PYTHON) is not: make PYTHON=/path/to/python3.11 ..."; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null \
		|| { echo "$(PYTHON) cannot make virtual environments. On Debian: apt install python3-venv"; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	@touch $@

# An editable install knows the modules that there were: it is made anew when one comes or goes.
$(VENV)/.modules: $(VENV)/.made always
	@find gateway engine -name '*.py' | LC_ALL=C sort >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

.PHONY: always

$(VENV)/.run: $(VENV)/.made $(VENV)/.modules pyproject.toml constraints.txt $(NATIVE)
	$(INSTALL) -e .
	@touch $@

$(VENV)/.dev: $(VENV)/.made $(VENV)/.modules pyproject.toml constraints.txt $(NATIVE)
	$(INSTALL) -e '.[test,dev]'
	@touch $(VENV)/.run $@
