# Two commands do everything: `make course` and `make test`. `make` alone lists the others.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
UV := $(PY) -m uv
READY := $(VENV)/ready
WHOLE := $(VENV)/whole
AUTHORS := $(VENV)/ready-for-authors
PEERS := .venv-bench
SUPPLY := .venv-supply
OPEN := $(if $(wildcard work/*.ipynb),work,notebooks)
# outputs are stored and compared in float32, without progress bars and without anybody's own IPython settings
QUIET := COURSE_DATA_SET=solar COURSE_PRECISION=float32 COURSE_PROGRESS=off IPYTHONDIR="$(CURDIR)/$(VENV)/ipython"

# threads that wait sleep instead of spinning: on a machine shared with others that is several times as fast
export OMP_WAIT_POLICY := PASSIVE

.DEFAULT_GOAL := help
.PHONY: help setup data course lab work check test architectures anyset browser faults lint spelling links licences audit sbom notebooks notes \
  timings bench site slides lock clean

help: ## this list
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/\1|\2/p' Makefile | awk -F'|' '{ printf "  make %-13s %s\n", $$1, $$2 }'

course: data ## run every notebook in order (copies; your files stay as they are)
	@$(PY) -m tools.course

lab: data ## open the notebooks in JupyterLab (your own copies, once `make work` has made them)
	@$(VENV)/bin/jupyter-lab --ServerApp.root_dir="$(CURDIR)" --LabApp.default_url=/lab/tree/$(OPEN) \
	  $$(test "$$(id -u)" != 0 || echo --allow-root)

work: $(READY) ## write your own copies into work/ (STYLE=clean: without prose; RESET=03 or all: that anew)
	@$(PY) -m tools.learner_copies $(if $(STYLE),--style $(STYLE)) $(if $(RESET),--reset $(RESET))

check: $(READY) ## look over this machine: Python, device, memory, data, weights
	@$(PY) -m helpers.lessons.doctor

# --- tests ------------------------------------------------------------------------------------------------------------

# $(call stage,NAME,COMMAND): say what runs, and what it was that failed
stage = @echo; echo "== $(1)"; $(2) || { echo "make test stopped: $(1) failed"; exit 1; }

test: data browser lint ## all tests: rules, units, every notebook's stored outputs, browser
	$(call stage,unit tests,OMP_NUM_THREADS=1 $(PY) -m pytest tests -n 2 --dist loadfile -p no:nbval \
	  --ignore tests/faults --ignore tests/browser \
	  -m "not browser and not notebooks and not alone and not architectures and not faults and not ranks")
	$(call stage,ledger of faults,OMP_NUM_THREADS=1 $(PY) -m tests.faults -n 2 --dist loadfile)
	$(call stage,stored outputs of all notebooks,$(QUIET) $(PY) -m pytest --nbval \
	  -p tests.notebooks.tolerance --nbval-cell-timeout 600 \
	  --nbval-kernel-startup-timeout 300 notebooks/*.ipynb)
	$(call stage,tests that run notebooks or a browser or measure a process,$(QUIET) $(PY) -m pytest tests \
	  -m "browser or notebooks or alone or ranks")

architectures: $(AUTHORS) ## a hundred networks of timm and torchvision, each through all that a learner does
	@OMP_NUM_THREADS=1 $(PY) -m pytest tests/models/test_architectures.py -n 2 -m architectures

anyset: $(AUTHORS) ## every notebook on two made sets, one of 37 classes, one of 28 px (NAMES="03 04": only these)
	@OMP_NUM_THREADS=1 COURSE_PRECISION=float32 $(PY) -m tests.anyset $(NAMES)

browser: $(AUTHORS)
	@if command -v chromium >/dev/null; then :; \
	elif command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  echo "installing chromium for the browser tests"; \
	  { apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y chromium; } \
	    >$(VENV)/chromium.log 2>&1 || { tail -5 $(VENV)/chromium.log; exit 1; }; \
	else \
	  echo "chromium is not installed, so the browser tests are skipped; to run them: sudo apt-get install chromium"; \
	fi

lint: $(AUTHORS) ## rules, format, and which room of the package may import which
	@$(PY) -m ruff check . && $(PY) -m ruff format --check . && $(VENV)/bin/lint-imports --no-cache

faults: data $(AUTHORS) ## the ledger of 61 faults: what comes of each, beside fastai (LONG=fuzz: a long dose)
	@OMP_NUM_THREADS=1 $(PY) -m tests.faults $(if $(LONG),--long $(LONG) $(if $(NAMES),--names $(NAMES)) $(if $(MISSING),--missing),-n 2 --dist loadfile)

spelling: $(AUTHORS) ## common misspellings in texts, code and notebooks
	@$(PY) -m codespell_lib --skip "*.ipynb" && $(PY) -m codespell_lib --ignore-regex "[A-Za-z0-9+/=]{40,}" notebooks

links: $(AUTHORS) ## links of notebooks and texts that lead nowhere (ONLINE=1 tries those on the web, too)
	@$(PY) -m tools.links $(if $(ONLINE),--online)

licences: $(AUTHORS) ## the licence of every package in requirements.lock, in THIRD_PARTY.md
	@$(PY) -m tools.licences

audit: $(AUTHORS) ## known vulnerabilities in the locked versions (ONLINE=1: against all that are published)
	@$(PY) -m tools.advisories
	@$(if $(ONLINE),$(MAKE) --no-print-directory $(SUPPLY)/ready && \
	  $(SUPPLY)/bin/pip-audit --strict --disable-pip --require-hashes -r requirements.lock)

sbom: $(SUPPLY)/ready ## a CycloneDX list of everything that is installed, in build/sbom.json
	@mkdir -p build
	@$(SUPPLY)/bin/cyclonedx-py environment $(VENV) --pyproject pyproject.toml --output-reproducible -o build/sbom.json

# --- for authors ------------------------------------------------------------------------------------------------------

notebooks: data $(AUTHORS) ## run the notebooks and store their outputs (NAMES="03 04": only these)
	@COURSE_PRECISION=float32 $(PY) -m tools.store $(NAMES)

notes: $(READY) ## write NOTES.md, the lecture notes line by line, from notes.toml
	@$(PY) -m tools.notes

timings: data ## run every notebook and write times and memory into README.md (NAMES="03 04": only these)
	@$(PY) -m tools.course $(NAMES) --table README.md

bench: data $(PEERS)/ready ## speed and memory beside fastai, timm, Lightning (QUICK=1, CHECK=1, GPU=1, WHAT=floors or growth)
	@$(PEERS)/bin/python -m tests.benchmarks $(WHAT) $(if $(QUICK),--quick) $(if $(GPU),--gpu) \
	  $(if $(CHECK),--check tests/benchmarks/ratios.json) $(ARGS)

site: $(AUTHORS) ## all notebooks as web pages, in site/
	@$(PY) -m tools.site

slides: $(AUTHORS) ## the slides among the cells, in site/slides/
	@$(PY) -m tools.slides

LOCK := pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate
lock: $(READY) ## compile all locks from pyproject.toml (UPGRADE=1: newest versions)
	@$(UV) $(LOCK) $(if $(UPGRADE),--upgrade) pyproject.toml --extra export --extra dist --group setup -o requirements.lock
	@$(UV) $(LOCK) $(if $(UPGRADE),--upgrade) --group test --group lint --group publish \
	  --constraint requirements.lock -o tests/requirements.lock
	@$(UV) $(LOCK) $(if $(UPGRADE),--upgrade) --group supply -o tests/supply.lock
	@$(UV) $(LOCK) $(if $(UPGRADE),--upgrade) pyproject.toml --group bench --constraint requirements.lock -o tests/bench.lock

clean: ## remove what can be made again (your work/, data and environment stay)
	@rm -rf site build *.egg-info .pytest_cache .ruff_cache .hypothesis .mutants-*
	@find helpers data_setup tests tools -name __pycache__ -prune -exec rm -rf {} +

# --- the environment --------------------------------------------------------------------------------------------------

setup: $(READY) ## only make the environment (PYTHON=python3.12 chooses one)
	@echo "the environment in $(VENV) is ready"

data: $(READY)
	@$(PY) -m data_setup

# While packages are installed the mark "whole" is gone: a set-up that was cut off then starts again from nothing.
$(READY): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; sys.exit(None if (3, 11) <= v <= (3, 13) else \
	  "This course needs Python 3.11, 3.12 or 3.13, and $(PYTHON) is %d.%d; name another one: make $(MAKECMDGOALS) PYTHON=python3.12" % v)'
	@test -e $(WHOLE) || { echo "making the environment in $(VENV)" && $(PYTHON) -m venv --clear $(VENV) \
	  && sed -n '/^uv==/,/[^\\]$$/p' requirements.lock >$(VENV)/uv.txt \
	  && $(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $(VENV)/uv.txt; }
	@rm -f $(WHOLE)
	@$(UV) pip install --python $(PY) --require-hashes -r requirements.lock
	@touch $(WHOLE)
	@$(UV) pip install --python $(PY) --quiet --no-deps --no-build-isolation -e .
	@$(PY) -m ipykernel install --sys-prefix --env OMP_WAIT_POLICY $(OMP_WAIT_POLICY) >/dev/null
	@touch $(READY)

# what only authors and tests need comes on top, in the versions that fit the learner's
$(AUTHORS): $(READY) tests/requirements.lock
	@$(UV) pip install --python $(PY) --require-hashes -r tests/requirements.lock
	@touch $@

# tools that look at what is installed stay outside of it
$(SUPPLY)/ready: tests/supply.lock | $(READY)
	@$(UV) venv --quiet --allow-existing --python $(PY) $(SUPPLY)
	@$(UV) pip install --quiet --python $(SUPPLY) --require-hashes -r tests/supply.lock
	@touch $@

# the peers have an environment of their own: the learner's one stays as the lock says
$(PEERS)/ready: tests/bench.lock | $(READY)
	@echo "making the environment of the peers in $(PEERS)"
	@$(UV) venv --quiet --allow-existing --python $(PY) $(PEERS)
	@$(UV) pip install --quiet --compile-bytecode --python $(PEERS) --require-hashes -r tests/bench.lock
	@touch $@
