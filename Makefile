# make setup   an environment in .venv with all that the tests need
# make demo    simulated scans -> training -> a double -> its report, in demo/ (needs the core packages only)
# make test    all tests
# make lint    style and types
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
CORE   := $(VENV)/.core-installed
DEV    := $(VENV)/.dev-installed

.PHONY: setup demo test lint format clean

setup: $(DEV)

$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "DataDouble needs Python 3.11 or newer: make PYTHON=/path/to/python3.11 $(MAKECMDGOALS)" >&2; exit 2; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade pip

$(CORE): pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/pip install --quiet -e . -c constraints.txt
	touch $@

# The OCR package asks for opencv-python, which needs the libGL of a desktop; a server gets the headless build.
$(DEV): pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/pip install --quiet -e '.[dev]' -c constraints.txt
	$(BIN)/python -c 'import cv2' 2>/dev/null || { \
	  $(BIN)/pip uninstall --quiet --yes opencv-python && \
	  $(BIN)/pip install --quiet --force-reinstall --no-deps opencv-python-headless -c constraints.txt; }
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
	  $(BIN)/playwright install chromium || echo 'No browser here and none to be had: the browser tests will be skipped.' >&2
	touch $(CORE) $@

demo: $(CORE)
	$(BIN)/datadouble demo demo

test: $(DEV)
	$(BIN)/python -m pytest -n 2

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(DEV)
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
