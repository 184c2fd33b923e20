# Two commands are all that a newcomer needs: make lab, make test.
PY := .venv/bin/python
READY := .venv/.ready$(if $(GPU),-gpu)
READY_DEV := .venv/.ready-dev$(if $(GPU),-gpu)
INPUTS := pyproject.toml constraints.txt setup_environment.sh

.PHONY: help lab test build verify grade-demo bench gpu lint clean
help:           ## this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 16

lab: $(READY)   ## set everything up and open JupyterLab on the start page (make lab PORT=8888 GPU=1)
	@$(PY) -m labkit lab $(if $(PORT),--port $(PORT))

test: $(READY_DEV)   ## set up, then lint, types, tests, labs; the last lines say what was tried
	@$(PY) -m ruff check labkit tests
	@$(PY) -m ruff format --check labkit tests
	@$(PY) -m mypy
	@$(PY) -m labkit build --check
	@$(PY) -m pytest -n 2 --dist loadgroup --durations=25 --durations-min=20

build: $(READY_DEV)   ## source -> executed solution -> starter, for the labs that changed
	@$(PY) -m labkit build

verify: $(READY_DEV)   ## papermill, nbval and the rules on every solution
	@$(PY) -m labkit verify

grade-demo: $(READY)   ## grade a small made-up class, and say where its pages are
	@$(PY) -m labkit grade-demo

bench: $(READY_DEV)   ## what each part costs, as ratios measured in one run
	@$(PY) -m labkit bench

gpu: $(READY_DEV)   ## everything of tier gpu, recorded in evidence/ (GPU=1 the first time); says so where there is none
	@$(PY) -m pytest -q -p no:xdist -m gpu
	@$(PY) -m labkit gpu

lint: $(READY_DEV)   ## format and mend what can be mended
	@$(PY) -m ruff format labkit tests
	@$(PY) -m ruff check --fix labkit tests

clean:          ## remove the environment and caches; labs/ stays
	rm -rf .venv .pytest_cache .mypy_cache .ruff_cache .hypothesis

$(READY): $(INPUTS)
	@./setup_environment.sh
	@touch .venv/.ready $@

$(READY_DEV): $(INPUTS)
	@./setup_environment.sh dev,hub
	@touch .venv/.ready .venv/.ready-dev $(READY) $@
