# What a person runs, from a fresh clone: `make demo` and `make test`. Needs Python 3.12 or newer.

VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check
DEMO_CLIP := deltajax/video/clips/vtest.mp4
DEMO := --model selfie_segmentation --weights published --roi 560 200 160 160 --size 256x256

.PHONY: help demo test lint format clean

help:
	@echo "make demo    segment the people on the clip that comes with the project; writes out/vtest.mp4"
	@echo "make test    check style and types, and run all tests"
	@echo "make lint    check style and types"
	@echo "make format  bring the code into shape"
	@echo "make clean   remove the virtual environment and everything that was built"

demo: $(VENV)/installed-scripts
	$(BIN)/python scripts/run_video.py $(DEMO_CLIP) $(DEMO) --json out/vtest.json

test: lint
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --no-loadscope-reorder

lint: $(VENV)/installed-test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/installed-test
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) build dist out *.egg-info .pytest_cache .ruff_cache .hypothesis

# The stamps are older than pyproject.toml when dependencies may have changed.
$(VENV)/installed-scripts: pyproject.toml | $(BIN)/python
	@echo "installing deltajax and what its scripts need into $(VENV)"
	@$(PIP_INSTALL) --editable '.[scripts]'
	@touch $@

$(VENV)/installed-test: pyproject.toml | $(BIN)/python
	@echo "installing deltajax and what its tests need into $(VENV)"
	@$(PIP_INSTALL) --editable '.[test]'
	@touch $@ $(VENV)/installed-scripts

$(BIN)/python:
	@for python in python3.12 python3 python3.13 python3.14; do \
		if $$python -c 'import sys; sys.exit(sys.version_info < (3, 12))' 2>/dev/null; then \
			echo "making $(VENV) with $$($$python --version)"; \
			exec $$python -m venv $(VENV); \
		fi; \
	done; \
	echo "deltajax needs Python 3.12 or newer, and found none (python3.12, python3, ...)." >&2; \
	echo "Install one (pyenv install 3.12, or your system's python3.12 with its venv module)." >&2; \
	exit 1
