# Every target makes what it needs: on a fresh machine `make demo` and `make test` are enough.
PYTHON ?= python3
BIN := .venv/bin
STAMP := .venv/installed

.PHONY: demo test test-all notebooks lint format clean

demo: $(STAMP)
	$(BIN)/python -m models schlogl

test: $(STAMP)
	$(BIN)/python -m pytest

test-all: $(STAMP)
	$(BIN)/python -m pytest -m "slow or not slow"

# Full settings, outputs written into the files; the tests run them with short ones.
notebooks: $(STAMP)
	LSE_VI_FAST= $(BIN)/python -m pytest --overwrite notebooks

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv results

# torch first and pinned: asked for without the pin, it brings gigabytes of CUDA.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt torch
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[studies,notebooks,dev]"
	touch $(STAMP)
