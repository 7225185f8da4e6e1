# An environment of its own in .venv; both targets are quick when it stands.
# On Windows, whose environments have no bin folder: python -m pip install -e . and then
# python -m fastjvae train digits; see docs/install.md.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# The settings of `make train`, and further flags: make train FLAGS="--seed 1"
FLAGS ?=
# What the tests are installed with; full: also the libraries without which some are skipped
EXTRAS ?= dev

.PHONY: train test lint types docs resources bench quick gpu bench-training clean

train: $(VENV)/.runtime
	$(BIN)/fastjvae train digits $(FLAGS)

test: lint types
	$(BIN)/python -m pytest -n auto --dist worksteal

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache

types: $(VENV)/.dev
	$(BIN)/mypy
	$(BIN)/mypy docs/examples docs/run_tutorial.py docs/run_quickstart.py

# The documentation as a site, with warnings as errors: open build/site/index.html.
docs: $(VENV)/.site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --quiet --strict --config-file docs/site/mkdocs.yml

# Registers, stack, shared memory and bytes moved of every kernel on every target; takes a while.
resources: $(VENV)/.dev
	$(BIN)/python -m benchmarks.resources --json benchmarks/results/kernel-resources.json \
		--write kernels/README.md

# Times of every operation, as JSON, table and plot in build/; hours on a GPU, most of them spent in
# torch.compile. FLAGS='--sizes=small -k "mnist and fp32"' measures a part.
bench: $(VENV)/.dev
	mkdir -p build
	$(BIN)/python -m pytest benchmarks/operations/bench_kernels.py --benchmark-json=build/kernels.json $(FLAGS)
	$(BIN)/python -m benchmarks.report_kernels build/kernels.json

# What fastjvae brings on this machine: under four minutes. FLAGS="--json quick.json" keeps it.
quick: $(VENV)/.dev
	$(BIN)/python -m benchmarks.quick $(FLAGS)

# Everything worth doing on a GPU, in at most 8 minutes: checks, tests, times, as JSON in build/gpu.
# FLAGS="--parts contact suite" does a part. GPU_PYTHON=python3 takes a Python that has everything.
GPU_PYTHON ?=
gpu: $(if $(GPU_PYTHON),,$(VENV)/.dev)
	PYTHONPATH=.:kernels $(or $(GPU_PYTHON),$(BIN)/python) -m benchmarks.gpu $(FLAGS)

# Training step and training end to end against their baselines, as JSON, and the page about them.
bench-training: $(VENV)/.dev
	$(BIN)/python -m pytest benchmarks/training/bench_step.py --benchmark-json=benchmarks/results/step.json
	$(BIN)/python -m pytest benchmarks/training/bench_epoch.py --benchmark-json=benchmarks/results/epoch.json
	$(BIN)/python -m benchmarks.layers --json benchmarks/results/layers.json
	$(BIN)/python -m benchmarks.quick --json benchmarks/results/quick.json \
		--about benchmarks/results/quick-about.json
	$(BIN)/python -m benchmarks.report

$(VENV)/.runtime: pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' || \
		{ echo "fastjvae needs Python 3.10 or newer: make PYTHON=/path/to/python3.x" >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/.dev: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[$(EXTRAS)]'
	touch $@

$(VENV)/.site: $(VENV)/.runtime
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[site]'
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
