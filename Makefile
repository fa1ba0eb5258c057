# The series on any machine: each target makes its own environment when there is none.
# Written for GNU make 3.81 (macOS) and later. 3.81 knows no .SHELLFLAGS, so no recipe may need
# pipefail, and a command that may fail stands alone on its line or says what happens then.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PY ?= python3
VENV ?= .venv

BIN := $(if $(filter /%,$(VENV)),$(VENV),$(CURDIR)/$(VENV))/bin
STAMP := $(VENV)/.installed
# Cells that call a command find the environment's own; spelled out, as a venv may not be activated.
IN_VENV := PATH="$(BIN):$$PATH"
OFFLINE := HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 HF_DATASETS_OFFLINE=1 TOKENIZERS_PARALLELISM=false

.PHONY: help run smoke test lab study artifacts clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-9s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  PY=python3.12 picks the Python, VENV=path the environment. On Linux without a GPU, the smaller"
	@echo "  CPU build of torch: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make run"

run: $(STAMP) ## execute every notebook, offline, tiny profile, into runs/executed (and HTML)
	$(IN_VENV) $(OFFLINE) "$(BIN)/fireact-nb" run

smoke: $(STAMP) ## the same at the smallest sizes: does every cell still run?
	$(IN_VENV) $(OFFLINE) "$(BIN)/fireact-nb" run --smoke

test: $(STAMP) ## ruff check and pytest, network blocked
	"$(BIN)/python" -m ruff check .
	$(IN_VENV) $(OFFLINE) "$(BIN)/python" -m pytest

lab: $(STAMP) ## open the notebooks in JupyterLab
	$(IN_VENV) "$(BIN)/python" -m jupyterlab notebooks/

study: $(STAMP) ## every experiment of the paper in the tiny world, into runs/study; resumable, hours
	$(IN_VENV) $(OFFLINE) "$(BIN)/fireact-nb" study

artifacts: $(STAMP) ## remake everything in data/ from its seeds; resumable, many hours
	$(IN_VENV) $(OFFLINE) "$(BIN)/fireact-nb" artifacts all

clean: ## remove caches and executed notebooks; the environment and other runs stay
	rm -rf runs/executed build dist .pytest_cache .ruff_cache .hypothesis *.egg-info
	find . -path "./$(VENV)" -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp holds the folder the environment was made for: in a copied or moved folder, where its
# editable install would still import the old code, it is filled anew.
MADE_FOR := $(shell cat "$(STAMP)" 2>/dev/null)
ifneq "$(MADE_FOR)" "$(CURDIR)"
.PHONY: $(STAMP)
endif

$(STAMP): pyproject.toml constraints.txt
	@"$(BIN)/python" -m pip --version >/dev/null 2>&1 || { \
	  command -v "$(PY)" >/dev/null || { echo "There is no '$(PY)' here. Install Python 3.11 or newer, or name one: make PY=/path/to/python3.12" >&2; exit 1; }; \
	  "$(PY)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "'$(PY)' is $$("$(PY)" --version 2>&1), and Python 3.11 or newer is needed. Name another one: make PY=python3.12" >&2; exit 1; }; \
	  "$(PY)" -c 'import ensurepip, venv' 2>/dev/null || { echo "'$(PY)' cannot make virtual environments. On Debian or Ubuntu: sudo apt install python3-venv" >&2; exit 1; }; \
	  echo "Making $(VENV) with $$("$(PY)" --version)"; \
	  "$(PY)" -m venv "$(VENV)"; \
	}
	@echo "Installing into $(VENV): 2 GB of packages and some minutes the first time"
	"$(BIN)/python" -m pip install -c constraints.txt -e ".[all,test]"
	@printf '%s' "$(CURDIR)" > "$@"
