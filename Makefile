# The series on any machine: each target makes its own environment when there is none.
# Written for GNU make 3.81 (macOS) and later. 3.81 knows no .SHELLFLAGS, so no recipe may need
# pipefail, and a command that may fail stands alone on its line or says what happens then.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PY ?= python3
VENV ?= .venv
WHEELHOUSE ?=

BIN := $(if $(filter /%,$(VENV)),$(VENV),$(CURDIR)/$(VENV))/bin
STAMP := $(VENV)/.installed
# Cells that call a command find the environment's own; spelled out, as a venv may not be activated.
IN_VENV := PATH="$(BIN):$$PATH"
OFFLINE := HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 HF_DATASETS_OFFLINE=1 TOKENIZERS_PARALLELISM=false

.PHONY: help run smoke check test trust lab book wheelhouse study artifacts clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  PY=python3.12 picks the Python, VENV=path the environment. On Linux without a GPU, the smaller"
	@echo "  CPU build of torch: PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu make run"
	@echo
	@echo "  Without a network: 'make wheelhouse' on a machine that has one, with the same system and the"
	@echo "  same Python version; copy wheelhouse/ into the other checkout; there, the first time, run any"
	@echo "  target with WHEELHOUSE=wheelhouse. Folders made on several systems may be merged into one."
	@echo "  Where there is no make (Windows), collect and install by"
	@echo "    python -m pip wheel -w wheelhouse -c constraints.txt .[all] \"setuptools>=77\""
	@echo "    python -m pip install --no-index --find-links wheelhouse -c constraints.txt -e .[all]"

run: $(STAMP) ## execute every notebook, offline, tiny profile, into runs/executed (and HTML)
	$(IN_VENV) $(OFFLINE) "$(BIN)/fireact-nb" run

smoke: $(STAMP) ## the same at the smallest sizes: does every cell still run?
	$(IN_VENV) $(OFFLINE) "$(BIN)/fireact-nb" run --smoke

check: $(STAMP) ## the two-minute core: ruff, and every test that is neither slow nor about trust
	"$(BIN)/python" -m ruff check .
	$(IN_VENV) $(OFFLINE) "$(BIN)/python" -m pytest -q -m "not slow" --ignore tests/trust

test: $(STAMP) ## ruff, mypy and every test, network blocked
	"$(BIN)/python" -m ruff check .
	"$(BIN)/python" -m mypy
	$(IN_VENV) $(OFFLINE) "$(BIN)/python" -m pytest

trust: $(STAMP) ## the long forms: kills, damage, faults, odd input; half an hour
	$(IN_VENV) $(OFFLINE) FIREACT_TRUST=1 "$(BIN)/python" -m pytest tests/trust tests/agent

lab: $(STAMP) ## your own copies of the notebooks, without outputs, in JupyterLab
	$(IN_VENV) "$(BIN)/fireact-nb" lab

book: $(STAMP) ## the committed notebooks as a static site in runs/book; warnings are errors
	rm -rf runs/book build/book
	"$(BIN)/python" -m sphinx -q -W --keep-going -b html -d build/book -c notebooks/book notebooks runs/book
	@echo "Open runs/book/index.html"

# Wheels only: what comes as source is built here, as the machine without a network may be unable to.
wheelhouse: ## collect every package, for this system and Python, to install without a network
	$(HAVE_VENV)
	"$(BIN)/python" -m pip wheel -w "$(or $(WHEELHOUSE),wheelhouse)" -c constraints.txt ".[all,test]" $(BUILT_BY)
	rm -f "$(or $(WHEELHOUSE),wheelhouse)"/fireact_nb-*.whl

study: $(STAMP) ## every experiment of the paper in the tiny world, into runs/study; resumable, hours
	$(IN_VENV) $(OFFLINE) "$(BIN)/fireact-nb" study

artifacts: $(STAMP) ## remake everything in data/ from its seeds; resumable, many hours
	$(IN_VENV) $(OFFLINE) "$(BIN)/fireact-nb" artifacts all

clean: ## remove caches and executed notebooks; the environment and other runs stay
	rm -rf runs/executed runs/book build dist .pytest_cache .ruff_cache .mypy_cache .hypothesis *.egg-info
	find . -path "./$(VENV)" -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp holds the folder the environment was made for: in a copied or moved folder, where its
# editable install would still import the old code, it is filled anew.
MADE_FOR := $(shell cat "$(STAMP)" 2>/dev/null)
ifneq "$(MADE_FOR)" "$(CURDIR)"
.PHONY: $(STAMP)
endif

# What pip builds this package with, in an environment of its own.
BUILT_BY := "setuptools>=77" wheel pip

# Only the wheelhouse is asked when there is one: an index that is not there is a long wait.
FROM := $(if $(WHEELHOUSE),--no-index --find-links "$(WHEELHOUSE)")

define HAVE_VENV
@"$(BIN)/python" -m pip --version >/dev/null 2>&1 || { \
  command -v "$(PY)" >/dev/null || { echo "There is no '$(PY)' here. Install Python 3.11 or newer, or name one: make PY=/path/to/python3.12" >&2; exit 1; }; \
  "$(PY)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "'$(PY)' is $$("$(PY)" --version 2>&1), and Python 3.11 or newer is needed. Name another one: make PY=python3.12" >&2; exit 1; }; \
  "$(PY)" -c 'import ensurepip, venv' 2>/dev/null || { echo "'$(PY)' cannot make virtual environments. On Debian or Ubuntu: sudo apt install python3-venv" >&2; exit 1; }; \
  echo "Making $(VENV) with $$("$(PY)" --version)"; \
  "$(PY)" -m venv "$(VENV)"; \
}
endef

$(STAMP): pyproject.toml constraints.txt
	@test -z "$(WHEELHOUSE)" || ls "$(WHEELHOUSE)"/*.whl >/dev/null 2>&1 || { echo "There are no packages in '$(WHEELHOUSE)'. Collect them by 'make wheelhouse' on a machine with a network, then copy the folder here." >&2; exit 1; }
	$(HAVE_VENV)
	@echo "Installing into $(VENV): 2 GB of packages and some minutes the first time"
	"$(BIN)/python" -m pip install $(FROM) -c constraints.txt -e ".[all,test]"
	@printf '%s' "$(CURDIR)" > "$@"
