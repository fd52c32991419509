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
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --max-worker-restart 0 \
    --dist loadscope --no-loadscope-reorder

# What a user has set for other Pythons, pips and environments stays out of this one; where the
# machine's packages come from (index, certificates, proxy, cache) stays in.
SOURCES := PIP_INDEX_URL PIP_EXTRA_INDEX_URL PIP_FIND_LINKS PIP_NO_INDEX PIP_TRUSTED_HOST PIP_CERT \
    PIP_CLIENT_CERT PIP_PROXY PIP_TIMEOUT PIP_DEFAULT_TIMEOUT PIP_RETRIES PIP_CACHE_DIR PIP_NO_CACHE_DIR \
    PIP_CONFIG_FILE PIP_KEYRING_PROVIDER PIP_USE_FEATURE PIP_USE_DEPRECATED PIP_DISABLE_PIP_VERSION_CHECK \
    UV_INDEX% UV_DEFAULT_INDEX UV_EXTRA_INDEX_URL UV_FIND_LINKS UV_NO_INDEX UV_INSECURE_HOST UV_NATIVE_TLS \
    UV_SYSTEM_CERTS UV_KEYRING_PROVIDER UV_HTTP_% UV_REQUEST_TIMEOUT UV_CACHE_DIR UV_NO_CACHE UV_CONFIG_FILE \
    UV_OFFLINE UV_LINK_MODE UV_CONCURRENT_% UV_NO_PROGRESS UV_CREDENTIALS_DIR
unexport $(filter-out $(SOURCES),$(filter PIP_% UV_% PYTHON%,$(.VARIABLES)))
unexport VIRTUAL_ENV CONDA_PREFIX __PYVENV_LAUNCHER__
# a variable is stronger than the same setting in a configuration file of pip
export PIP_USER := 0
export PIP_REQUIRE_VIRTUALENV := 0
export UV_HTTP_TIMEOUT ?= 300
export UV_NO_PROGRESS ?= 1

.DEFAULT_GOAL := help
.PHONY: help book test check lab lock bench clean

help: ## say what there is to make
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-6s %s\n", $$1, $$2 }' Makefile

book: $(READY) ## execute every chapter and build the book into _build/html
	@$(BIN)/python -m tools.book

test: $(READY) ## run every check: ruff, types, pytest, every notebook, the book in a browser
	$(BIN)/ruff check .
	$(BIN)/ruff format --check labsupport tests tools benchmarks conftest.py
	$(BIN)/python -m mypy
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
