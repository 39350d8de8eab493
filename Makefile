# Dead Letter Office. `make` alone lists the commands. Needs git, make and Python 3.11 or newer, nothing else.

.DEFAULT_GOAL := help
SHELL := /bin/sh
# Each service is a process of its own. Without bytecode it would compile all that it imports at each start.
unexport PYTHONDONTWRITEBYTECODE

# The first Python that is new enough; give your own by `make PYTHON=/path/to/python lab`.
FIND_PYTHON = for p in python3 python3.13 python3.12 python3.11 python3.14 python; do \
	if $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then echo $$p; exit; fi; done
PYTHON ?= $(shell $(FIND_PYTHON))

# Sets up what is missing, then runs .venv/bin/python with the arguments that follow.
IN_VENV = @if [ -z "$(PYTHON)" ]; then echo "This course needs Python 3.11 or newer, and none was found on PATH\
 (python3 is `python3 --version 2>&1 || echo missing`). Install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; fi; \
	exec "$(PYTHON)" -I src/classroom/bootstrap.py
IN_DEV = $(IN_VENV) --dev

.PHONY: help lab test setup doctor faults fuzz interop mutants attacks grade-demo lint labs notebooks nbgrader pins clean

help: ## list these commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' Makefile

lab: ## set up all, then open JupyterLab at the first notebook
	$(IN_VENV) -m classroom lab

test: lint ## set up all, then run every check and every test (ARGS="tests/unit -x" for some, ARGS="-n 0" one by one)
	$(IN_DEV) -m pytest -n 3 --dist loadgroup $(ARGS)

fuzz: export FUZZ_CASES = 200000
fuzz: ## a million hostile inputs (`make test` runs a short form)
	$(IN_DEV) -m pytest tests/fuzz -v

interop: export PYTHONPATH = tests
interop: ## our services and clients with real NestJS's, as a table (the first run fetches NestJS)
	$(IN_DEV) -m interop $(ARGS)

faults: export PYTHONPATH = tests
faults: ## every transport, broken in every way, as a table (ARGS="--only Kafka --seeds 1 --resume ...")
	$(IN_DEV) -m campaign $(ARGS)

mutants: export PYTHONPATH = tests
mutants: ## the labs' checks, checked: wrong solutions are refused, the right ones pass (ARGS="--only 05.ack --resume ...")
	$(IN_DEV) -m mutants $(ARGS)

attacks: export PYTHONPATH = tests
attacks: ## hostile and odd submissions, graded, as a table (ARGS="--only bomb --every 5 --attacks")
	$(IN_DEV) -m grading $(ARGS)

grade-demo: export PYTHONPATH = tests
grade-demo: ## a hundred submissions with known marks, graded (ARGS="--count 12 --workers 2")
	$(IN_DEV) -m grading.demo $(ARGS)

doctor: ## show what would serve each broker on this machine (works before any set-up)
	@exec "$(or $(PYTHON),python3)" src/classroom/doctor.py

setup: ## set up all, open nothing
	$(IN_DEV)

lint: ## format check, lint, strict types, and that no notebook is stale
	$(IN_DEV) -m ruff format --check .
	@.venv/bin/python -m ruff check .
	@.venv/bin/python -m mypy
	@.venv/bin/python -m classroom notebooks check

labs: ## generate labs/ from solutions/
	$(IN_DEV) -m classroom notebooks labs

notebooks: labs ## execute every notebook and store its outputs
	$(IN_DEV) -m classroom notebooks run

nbgrader: ## set up nbgrader, for instructors who use it, in an environment of its own
	$(IN_VENV) -m classroom.grading.nbgrader_home

pins: ## write the pins of uv.lock into environment.yml
	$(IN_DEV) .ci/pins.py

clean: ## remove what set-up put into this folder
	rm -rf .venv .venv-nbgrader .tools .artifacts
