# Everything needs one thing: a .venv that holds requirements.lock and the package.
# .venv/.ready is written last, so a set-up that was cut short is seen and made anew.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
UV := $(BIN)/uv
INSTALL := $(UV) pip install --quiet --python $(BIN)/python
# two notebooks at a time, each on one thread, instead of two that fight for the same cores; what
# shares a worker, and what comes first, is said in conftest.py
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist loadscope --no-loadscope-reorder

export UV_HTTP_TIMEOUT ?= 300
export UV_NO_PROGRESS ?= 1

.DEFAULT_GOAL := help
.PHONY: help book test check lab lock bench clean

help: ## say what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' Makefile

book: $(READY) ## execute every chapter and build the book into _build/html
	@$(BIN)/python -m tools.book

test: $(READY) ## run every check: ruff, pytest, every notebook, the book in a browser
	$(BIN)/ruff check .
	@$(BIN)/python -m tools.book
	$(PYTEST) --durations 20 --nbval-lax tests chapters

check: $(READY) ## run what takes two minutes: ruff, types, the fast tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check labsupport tests tools benchmarks conftest.py
	$(BIN)/python -m mypy
	$(PYTEST) -m "not slow" tests

lab: $(READY) ## open the chapters in JupyterLab
	$(BIN)/jupyter lab --notebook-dir=chapters

lock: $(READY) ## write requirements.lock anew from pyproject.toml
	$(UV) pip compile --quiet --upgrade --universal --python-version 3.11 \
	    --extra lab --extra book --extra test --no-emit-index-url \
	    --custom-compile-command "make lock" --output-file requirements.lock pyproject.toml

bench: $(READY) ## measure the training loop beside its peers (installs them first)
	$(INSTALL) --constraint requirements.lock --editable ".[bench]"
	$(BIN)/python benchmarks/train.py

clean: ## remove what was built; .venv and the kept study results stay
	rm -rf _build .pytest_cache .ruff_cache .hypothesis

$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "Python 3.11 or newer is needed; '$(PYTHON)' is $$($(PYTHON) --version 2>&1 || echo missing)." \
	         "Name another with: make PYTHON=/path/to/python3" >&2; exit 1; }
	@if [ -e $(READY) ]; then echo "Bringing .venv up to date ..."; rm $(READY); \
	else echo "Setting up .venv (some 3 GB with PyTorch; once) ..."; \
	    rm -rf $(VENV); $(PYTHON) -m venv $(VENV); \
	    $(BIN)/python -m pip install --quiet --disable-pip-version-check uv; fi
	@$(INSTALL) --requirement requirements.lock
	@$(INSTALL) --no-deps --editable .
	@touch $(READY)
