# All that is needed: git, make and Python 3.11, 3.12 or 3.13. `make` alone lists the targets.
# Paths are relative, so that any folder will do, one with a space in its name too.

VENV ?= .venv
# The environment's own Python once it is there: PYTHON=python3.12 need be said only once.
PYTHON ?= $(shell test -x $(VENV)/bin/python && echo $(VENV)/bin/python || echo python3)
ARGS ?=
PKG ?=
ROWS ?=
ROOM ?=
TO ?=
FROM ?=
IMAGE ?=
DEBUG_PORT ?= 5678
# Not ?=: an environment may well have a NAME of its own.
TEMPLATE =
DRY =
# <template>
NAME =
DEST =
WITHOUT =
# </template>

IN_ENV := $(VENV)/bin/python -m
KIT := $(IN_ENV) starterkit
# pytest has a worker for each core: threads within one would only be in the others' way.
ALONE := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1

export MLFLOW_DISABLE_TELEMETRY := true
export ORT_DISABLE_TELEMETRY := 1
export PKG

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run serve serve-debug ui wheel test lint format types contracts deps unit test-slow env env-test add lock \
  update-deps update clean
# <image>
.PHONY: image
# </image>
# <stack>
.PHONY: backup restore
# </stack>
# <workflows>
.PHONY: workflows
# </workflows>
# <template>
.PHONY: test-faults test-attacks test-clients test-deep test-f5 test-browser test-containers test-platforms test-tables test-template \
  rehearse loop mutants measure bench-batch bench-monitor bench-parity bench-serve bench-verdicts new test-spark \
  bench-spark spark-env tensorflow-env torch-env
# </template>

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "  Options: ARGS=\"…\" for the command, PYTHON=python3.12, VENV=folder"

# --- the kit

run: env ## raw data to a registered, gated model, then a few predictions
	@$(KIT) run $(ARGS)

serve: env ## answer over HTTP with the champion
	@$(KIT) serve $(ARGS)

# <image>
image: env ## an image that serves the champion, with the model in it; IMAGE=name:tag
	@$(VENV)/bin/python tools/image.py $(IMAGE)
# </image>

serve-debug: env-test ## the same, for a debugger to attach to on DEBUG_PORT=5678
	@if $(VENV)/bin/python -c 'import socket; socket.create_server(("localhost", $(DEBUG_PORT)))' 2>/dev/null; then \
	  $(VENV)/bin/python -Xfrozen_modules=off -m debugpy --listen localhost:$(DEBUG_PORT) -m starterkit serve $(ARGS); \
	else echo "Port $(DEBUG_PORT) is listened on already: attach to that, or name another one with DEBUG_PORT=…"; fi

ui: env ## MLflow's own pages for the runs and models
	@$(KIT) ui $(ARGS)

wheel: env ## a wheel with the kit, the project, config/ and data/, for a notebook where there is no clone
	@$(VENV)/bin/python tools/wheel.py $(ARGS)

# --- checks

test: lint types contracts deps unit ## all checks and tests

lint: env-test ## ruff: mistakes and formatting
	$(IN_ENV) ruff check .
	$(IN_ENV) ruff format --check .

# <workflows>
lint: workflows

workflows: env-test ## .github/workflows: their schema, and zizmor for what an attacker could use
	$(IN_ENV) check_jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(VENV)/bin/zizmor --offline --quiet --persona auditor .github/workflows
# </workflows>

types: env-test ## pyrefly: types
	$(IN_ENV) pyrefly check --python-interpreter-path $(VENV)/bin/python

contracts: env-test ## import-linter: who may import whom
	$(VENV)/bin/lint-imports

deps: env-test ## deptry: what is imported is declared, and the reverse
	$(IN_ENV) deptry src

unit: env-test ## pytest alone; ARGS="-k export" picks
	$(ALONE) $(IN_ENV) pytest $(ARGS)

test-slow: env-test ## tests that take long: they train again, kill what they started, or judge many candidates
	$(ALONE) $(IN_ENV) pytest -m slow $(ARGS)

# <template>
test-spark: spark-env ## a standalone cluster of Spark, with its driver and an executor killed; needs Java 17
	@$(ALONE) build/envs/spark/bin/python -m pytest tests/starterkit/serving/batch/spark_cluster.py -o python_files='spark_*.py' \
	  -o pythonpath=bench -n 0 -rs $(ARGS)

bench-spark: spark-env ## files on a cluster's cores, beside MLflow's function for Spark; ROWS=1000000
	build/envs/spark/bin/python bench/spark.py $(if $(ROWS),--rows $(ROWS)) $(ARGS)

# Environments of their own: Spark is 480 MB, PyTorch 880, TensorFlow 1,360.
UV = $$(command -v uv || echo .cache/uv/bin/uv)
EXTRA = $(PYTHON) tools/environment.py build/envs/$(1) test && \
  $(UV) pip install -q --python build/envs/$(1)/bin/python --no-deps --require-hashes -r requirements-$(1).txt
spark-env: env
	@$(call EXTRA,spark)

test-faults: env-test ## real faults, met by real commands, and a table of what came of each
	@$(ALONE) $(IN_ENV) pytest tests/faults -o python_files='fault_*.py' -o pythonpath=tests/faults -n 2 --dist worksteal $(ARGS)

test-attacks: env-test ## what somebody tries on rules, files, alias and evidence, with real commands and a real server
	@$(ALONE) $(IN_ENV) pytest tests/attacks -o python_files='attack_*.py' -n 0 $(ARGS)

test-containers: env-test ## the images, built and run; needs Docker
	@$(IN_ENV) pytest tests/containers -o python_files='containers_*.py' -o pythonpath=tests/containers -n 0 $(ARGS)

test-f5: env-test ## every entry of .vscode/launch.json, carried out as VS Code would; ARGS="-k Serve" picks
	@$(IN_ENV) pytest tests/f5 -o python_files='press_*.py' -o pythonpath=tests/f5 -n 0 --durations=0 $(ARGS)

test-browser: env-test ## chromium before MLflow's pages and the API's /docs; pictures in build/screenshots
	@rm -rf build/screenshots
	@$(IN_ENV) pytest tests/browser -o python_files='browse_*.py' -o pythonpath=tests/browser -n 0 -rs $(ARGS)

test-clients: env-test ## other people's clients and schemathesis before the API, each in an environment of its own
	@$(ALONE) $(IN_ENV) pytest tests/starterkit/serving/http -o python_files='client_*.py' \
	  -o pythonpath=tests/starterkit/serving/http -n 0 -rs $(ARGS)

test-template: env-test ## copies of the working tree, their own tests, updates of them; ARGS=--whole runs every copy
	@$(IN_ENV) pytest tests/template -o python_files='template_*.py' -o pythonpath=tests/template --confcutdir=tests/template \
	  -n 2 --dist loadfile --no-loadscope-reorder --durations=8 $(ARGS)

test-platforms: env-test ## clouds' and clusters' own clients and servers, each in an environment below build/
	@$(ALONE) $(IN_ENV) pytest tests/platforms tests/starterkit/release/deployment -o python_files='platform_*.py' \
	  -o pythonpath=tests/platforms -n 0 -rs --durations=5 $(ARGS)

test-tables: env-test ## init-problem, run, gate and predict over real tables, beside plain estimators; ARGS="-k Wage" picks
	@$(ALONE) $(IN_ENV) pytest tests/tables -o python_files='table_*.py' -o pythonpath=tests/tables -n 2 --dist worksteal $(ARGS)

TORCH := torch==2.13.0+cpu
test-deep: torch-env tensorflow-env ## networks of PyTorch and Keras, and CatBoost, apart from the tests; TORCH="torch==2.14.1"
	@for files in "torch deep_*.py test_catboost.py" "tensorflow deep_*.py"; do \
	  $(ALONE) build/envs/$${files%% *}/bin/python -m pytest tests/starterkit/training -o python_files="$${files#* }" -n 2 -rs $(ARGS) \
	    || exit 1; \
	done

tensorflow-env: env
	@$(call EXTRA,tensorflow) || echo "not run: tensorflow-cpu cannot be had"

# The build for the CPU is in PyTorch's own index, or in one that pip is told of. All that it needs is there already.
torch-env: env
	@$(call EXTRA,torch)
	@$(UV) pip install -q --python build/envs/torch/bin/python -c requirements-test.txt -e '.[catboost]' || \
	  echo "not run: CatBoost cannot be had"
	@build/envs/torch/bin/python -m ensurepip >/dev/null
	@build/envs/torch/bin/python -m pip install -q --no-deps "$(TORCH)" 2>/dev/null || \
	  $(UV) pip install -q --python build/envs/torch/bin/python --no-deps --torch-backend cpu "$(TORCH)" || \
	  echo "not run: $(TORCH) cannot be had"

rehearse: env ## one commit through all five stages and back, on two servers; needs Docker
	@$(VENV)/bin/python tools/rehearse.py $(ARGS)

loop: env ## the closed loop in two minutes: traffic, drift, late labels, a retraining, the API swapping
	@$(VENV)/bin/python tools/loop.py

mutants: env-test ## break a room's lines one by one; ROOM=gate, export, settings
	@$(VENV)/bin/python tools/mutants.py "$(ROOM)" $(ARGS)

measure: env-test ## how much there is to find one's way in, beside what is wanted; ARGS=--files names it, --quick
	@$(VENV)/bin/python tools/measure.py $(ARGS)
# </template>

format: env-test ## ruff: format and mend what it can
	$(IN_ENV) ruff check --fix .
	$(IN_ENV) ruff format .

# <stack>
# --- the container stack (docs/stack.md)

backup: python ## the stack's database and artifacts, into a new folder below backups/; TO=folder
	@$(PYTHON) tools/stack.py backup $(if $(TO),"$(TO)") $(ARGS)

restore: python ## a backup, into an empty stack: make restore FROM=backups/…
	@$(PYTHON) tools/stack.py restore "$(FROM)" $(ARGS)

# </stack>
# <template>
# --- benchmarks (bench/README.md)

bench-batch: env ## files: the kit beside MLflow, with the champion; ROWS=10000000 ARGS=--only-kit shows memory
	$(VENV)/bin/python bench/batch.py $(if $(ROWS),--rows $(ROWS)) $(ARGS)

bench-verdicts: env-test ## planted candidates before the gate, beside the truth; ARGS="--only leak --rows 100"
	OMP_NUM_THREADS=1 $(IN_ENV:-m=) bench/verdicts.py $(ARGS)

bench-serve: env-test ## the API beside an empty FastAPI route, a plain app and MLflow's server; ARGS="--pairs 1"
	@$(ALONE) $(VENV)/bin/python bench/serve.py $(ARGS)

bench-monitor: env ## ten million predictions summarised, beside evidently's drift preset; ROWS=1000000
	@$(ALONE) $(VENV)/bin/python bench/monitor.py $(if $(ROWS),--rows $(ROWS)) $(ARGS)

bench-parity: env-test ## every estimator's graph against it, beside skl2onnx; LIST=boosters asks one list
	OMP_NUM_THREADS=1 $(IN_ENV:-m=) bench/parity.py \
	  $(if $(LIST),--list $(LIST)) $(if $(ROWS),--rows $(ROWS)) $(if $(LIST)$(ROWS),,--write)

# --- a project of its own (docs/decisions/0019-template.md)

new: export ASKED_NAME = $(NAME)
new: export ASKED_DEST = $(DEST)
new: export ASKED_WITHOUT = $(WITHOUT)
new: python ## a project of this template: make new DEST=../churn NAME=churn WITHOUT="stack vscode"
	@$(PYTHON) tools/template/new.py "$$ASKED_NAME" "$$ASKED_DEST" "$$ASKED_WITHOUT"
# </template>

# --- the template (how: tools/template/update.py)

update: export ASKED_TEMPLATE = $(TEMPLATE)
update: python ## in a project: merge what the template changed; DRY=1 shows it, TEMPLATE=folder or address
	@$(PYTHON) tools/template/update.py $(if $(DRY),--dry-run) "$$ASKED_TEMPLATE"

# --- the environment (how: tools/environment.py, tools/lock.py)

env: python ## make the environment, or bring it up to date
	@$(PYTHON) tools/environment.py $(VENV)

env-test: python ## the same with the test tools
	@$(PYTHON) tools/environment.py $(VENV) test

add: python ## add a dependency, lock, install: make add PKG=orjson
	@$(PYTHON) tools/lock.py add "$$PKG"
	@$(PYTHON) tools/environment.py $(VENV)

lock: python ## make the locks follow pyproject.toml
	@$(PYTHON) tools/lock.py

update-deps: python ## renew the locks and show what moved
	@$(PYTHON) tools/lock.py upgrade

clean: ## remove environments and caches; runs, models and data stay
	rm -rf $(VENV) .cache .uv .hypothesis .pytest_cache .ruff_cache .import_linter_cache
	find src tests tools -name __pycache__ -prune -exec rm -rf {} +

.PHONY: python
python:
	@command -v $(PYTHON) >/dev/null || { \
	  echo "$(PYTHON) not found; install Python 3.11, 3.12 or 3.13, or add PYTHON=… to the command" >&2; exit 1; }
	@$(PYTHON) -S -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' || { \
	  echo "$(PYTHON) is $$($(PYTHON) -V 2>&1); the kit needs 3.11, 3.12 or 3.13: add PYTHON=python3.12" >&2; exit 1; }
