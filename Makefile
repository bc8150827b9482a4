# Every target that needs Python builds .venv itself when it is missing or out of date.

PYTHON ?= python3
SEED ?= 0
ARGS ?=
WORKERS ?= 2

VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help venv run smoke tables gpu-check fuzz soak faults docs test test-slow lint format clean distclean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s  %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@echo
	@echo "  PYTHON=python3.12 selects the interpreter of .venv, SEED=1 the seed of run, smoke and tables,"
	@echo "  WORKERS=8 the number of processes of test;"
	@echo "  ARGS=\"...\" is passed on by run, tables, gpu-check, fuzz, soak, faults, docs, test and test-slow, e.g. make test ARGS=\"-k vocabulary\""

venv: $(STAMP) ## build .venv with opsnet (editable) and its development dependencies
	@:

run: $(STAMP) ## run the scenes experiment
	$(PY) -m scripts.miniature.run_scenes --seed $(SEED) $(ARGS)

smoke: $(STAMP) ## run a shortened scenes experiment
	$(PY) -m scripts.miniature.run_scenes --smoke --seed $(SEED)

tables: $(STAMP) ## train and evaluate every row of the paper's tables in miniature
	$(PY) -m scripts.miniature.run_tables --seed $(SEED) $(ARGS)

gpu-check: $(STAMP) ## check and time opsnet on a GPU (on a CPU in small sizes); writes runs/gpu_check/report.md
	$(PY) -m scripts.gpu_check $(ARGS)

faults: $(STAMP) ## inject faults into running commands and judge what is left; writes runs/faults/report.md
	$(PY) -m scripts.faults $(ARGS)

soak: $(STAMP) ## load and soak of page, predictor, training; 30 minutes; writes runs/soak/report.md
	$(PY) -m scripts.soak $(ARGS)

fuzz: $(STAMP) ## feed mutated files to every reader; writes runs/fuzz/report.md
	OMP_NUM_THREADS=1 $(PY) -m scripts.fuzz $(ARGS)

docs: $(STAMP) ## build the documentation site into site/, without network
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict $(ARGS)

# Small networks gain little from threads: two processes with one thread each take two thirds of the time.
test: $(STAMP) ## run the tests except the slow ones
	OMP_NUM_THREADS=1 $(PY) -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

test-slow: $(STAMP) ## run the slow tests
	$(PY) -m pytest -m slow $(ARGS)

lint: $(STAMP) ## check style and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy opsnet

format: $(STAMP) ## format the sources and fix what ruff can fix
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

clean: ## remove caches, build outputs and runs; keeps .venv and data
	rm -rf build dist site *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis runs
	find . \( -path ./.git -o -path ./$(VENV) -o -path ./data \) -prune -o -name __pycache__ -type d -exec rm -rf {} +

distclean: clean ## remove .venv and data as well
	rm -rf $(VENV) data opsnet/evaluation/_shared_pixels.*.so

# Bytecode is compiled here, that of opsnet too; otherwise every command would start seven seconds later if Python
# cannot write it, or is told not to.
# Without write access to uv's cache, the installation does not use it. The versions in constraints.txt need
# Python 3.11; on 3.10 the newest versions allowed by pyproject.toml are installed.
$(STAMP): pyproject.toml constraints.txt opsnet/evaluation/_shared_pixels.c
	@echo "Building $(VENV): about a minute the first time (torch and its libraries: 3 GB of downloads, 6 GB on disk)."
	@$(PYTHON) -m venv $(VENV) || { \
	  echo "'$(PYTHON) -m venv' failed: on Debian and Ubuntu install the package python3-venv, then run make again." >&2; \
	  exit 1; }
	@$(VENV)/bin/pip install -q --disable-pip-version-check uv
	@set --; \
	cache="$$($(VENV)/bin/uv cache dir)"; \
	mkdir -p "$$cache" 2>/dev/null && test -w "$$cache" || set -- --no-cache; \
	if $(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then \
	  set -- "$$@" -c constraints.txt; \
	else \
	  echo "Python 3.10: installing without constraints.txt, whose versions need 3.11."; \
	fi; \
	$(VENV)/bin/uv pip install -q --compile-bytecode --python $(PY) "$$@" -e ".[dev]"
	@$(PY) -m compileall -q opsnet scripts || true
	@touch $@
	@echo "$(VENV) is ready."
