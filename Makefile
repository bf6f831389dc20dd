# Every target makes what it needs: on a fresh machine `make demo` and `make test` are enough.
PYTHON ?= python3
# Another Python has an environment of its own: make PYTHON=python3.13 test
VENV ?= $(if $(filter python3,$(PYTHON)),.venv,.venv-$(notdir $(PYTHON)))
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
DOCS_STAMP := $(VENV)/docs-installed

.PHONY: demo test test-all test-matrix test-lowest notebooks docs lint format clean bench-check

demo: $(STAMP)
	$(BIN)/python -m models schlogl

# One worker a core, each on one thread.
test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --dist worksteal

test-all: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n logical --dist worksteal -m "slow or not slow"

# A quick part on the other Pythons of this machine; it says which are missing.
test-matrix: $(STAMP)
	.ci/matrix

# A quick part with the lowest versions that pyproject.toml claims.
test-lowest:
	.ci/lowest $(PYTHON)

# Full settings, outputs written into the files; the tests run them with short ones.
notebooks: $(STAMP)
	LSE_VI_FAST= MPLBACKEND=module://matplotlib_inline.backend_inline \
		$(BIN)/python -m pytest -m "slow or not slow" --overwrite notebooks

# The site, in docs/_build/html; a warning or a link that leads nowhere is an error.
docs: $(DOCS_STAMP)
	rm -rf docs/_build
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going docs docs/_build/html
	$(BIN)/python docs/check.py

# Ratios of quick benchmarks against those committed: fails when one fell by a third.
bench-check: $(STAMP)
	$(BIN)/python -m benchmarks check

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .venv-* results docs/_build

# torch first and pinned: asked for without the pin, it brings gigabytes of CUDA.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[studies,notebooks,dev]"
	touch $(STAMP)

# Apart, as the tests do without it.
$(DOCS_STAMP): $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[docs]"
	touch $(DOCS_STAMP)
