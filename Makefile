# Taskrig: `make` lists what there is. Needs Python 3.11 or newer; everything else is installed in .venv.
# A variable may follow any target: make demo MAX_CONCURRENT=10
.DEFAULT_GOAL := help
SHELL := /bin/sh
VENV ?= .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The first Python that is new enough, unless PYTHON= names one.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
  $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && echo $$p && break; done)

flag = $(if $($(2)),--$(1) '$($(2))')
LOCAL = $(PY) -m deploy.local
WHERE = $(call flag,how,HOW) $(call flag,redis-port,REDIS_PORT) $(call flag,port,PORT) \
  $(call flag,prometheus-port,PROMETHEUS_PORT) $(call flag,grafana-port,GRAFANA_PORT) \
  $(call flag,workers,WORKERS) $(call flag,max-concurrent,MAX_CONCURRENT) $(call flag,profiles,PROFILES)

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: $(READY) ## Start Redis and a worker, push seven tasks, report (MAX_CONCURRENT=1 MIX=fast=3,medium=2)
	@$(LOCAL) demo $(WHERE) $(call flag,mix,MIX)

.PHONY: up
up: $(READY) ## Start Redis and workers (WORKERS=3 MAX_CONCURRENT=5 PORT=9464 REDIS_PORT=6379 HOW=compose|native PROFILES=plain|monitoring)
	@$(LOCAL) up $(WHERE)

.PHONY: down
down: $(READY) ## Stop what up or demo started; waiting tasks stay
	@$(LOCAL) down

.PHONY: ps
ps: $(READY) ## Show what runs
	@$(LOCAL) ps

.PHONY: logs
logs: $(READY) ## Follow the logs of what runs (Ctrl-C ends it)
	@$(LOCAL) logs

.PHONY: load
load: $(READY) ## Push a mix to the running queue, follow it, report (MIX=fast=3,medium=2,slow=2)
	@$(LOCAL) load $(call flag,mix,MIX)

.PHONY: test
test: $(READY) ## Run all tests (ARGS='-k drain'; JOBS=1 one by one; TEST_REDIS_URL=redis://... for a server of yours)
	$(PY) -m pytest -n $(or $(JOBS),3) $(ARGS)

.PHONY: test-all
test-all: ## Run the unit tests, and those of Django's tasks, on each Python 3.11, 3.12, 3.13 there is (ARGS=tests for more)
	@deploy/checks/each-python $(or $(ARGS),tests/unit tests/process/test_django_tasks.py)

.PHONY: truth
truth: $(READY) ## Test in full whether loadgen's figures can be believed (some 35 minutes; wants a quiet machine)
	TRUTH=full $(PY) -m pytest tests/truth/*.py -s --timeout 900 $(ARGS)

.PHONY: truth-plan
truth-plan: $(READY) ## Hold plans against real runs (15 minutes) and put the table into docs/loadgen.md
	TRUTH=full $(PY) -m pytest tests/truth/full_plans.py -s --timeout 900 $(ARGS)
	@$(PY) -m tests.truth.table

.PHONY: check
check: $(READY) ## Check style, types, layers, configuration, Dockerfile, Compose file and scripts
	@deploy/checks/all $(PY)

.PHONY: bench
bench: $(READY) ## Measure our hot path against a bare probe into results/bench.json (ARGS='drain --rounds 3')
	@$(PY) -m benchmarks run $(ARGS)

.PHONY: bench-peers
bench-peers: $(READY) ## Run the same work on other task queues, side by side (ARGS='--only huey --rounds 1')
	@$(PY) -m benchmarks peers $(ARGS)

.PHONY: bench-docs
bench-docs: $(READY) ## Make docs/benchmarks.md from what bench and bench-peers found
	@$(PY) -m benchmarks document $(ARGS)

.PHONY: pictures
pictures: $(READY) ## Take the pictures of the README and docs from a real run (needs chromium and chromedriver; SECONDS=60)
	@$(PY) -m tests.browser.pictures

DOCS_VENV := $(VENV)-docs
.PHONY: docs
docs: $(READY) $(DOCS_VENV)/.ready ## Make the site of the docs in results/site; a broken link fails
	@$(PY) -m deploy.site .run/site
	@NO_MKDOCS_2_WARNING=1 $(DOCS_VENV)/bin/mkdocs build --strict --config-file .run/site/mkdocs.yml
	@rm -rf results/site && mkdir -p results && mv .run/site/site results/site
	@echo "made: results/site/index.html"

$(DOCS_VENV)/.ready: requirements/docs.txt | $(READY)
	@$(PY) -m venv --clear $(DOCS_VENV)
	@$(DOCS_VENV)/bin/python -m pip install -qq --require-hashes -r requirements/docs.txt
	@touch $@

.PHONY: profile
profile: $(READY) ## Show where a drain of no-op tasks spends its time (ARGS='--slots 10')
	@$(PY) -m benchmarks profile $(ARGS)

.PHONY: chaos
chaos: $(READY) ## Break workers, Redis and the wire under load for 3 minutes; lose nothing (DURATION=10m RATE=700)
	$(PY) -m taskrig_loadgen chaos --duration $(or $(DURATION),3m) --rate $(or $(RATE),700)

.PHONY: soak
soak: $(READY) ## Run the faults and the memory tests in full counts (about 40 minutes; ARGS='-k recovery')
	TEST_SOAK=1 $(PY) -m pytest tests/soak tests/process/test_faults_at_odd_moments.py \
	  tests/process/test_dead_letter_commands.py --timeout 3600 -s $(ARGS)

.PHONY: sbom
sbom: ## List the Python packages in the image as CycloneDX JSON (results/sbom.json)
	@mkdir -p results
	@docker run --rm --interactive --entrypoint python3 $(or $(TASKRIG_IMAGE),taskrig:local) - < deploy/checks/sbom.py > results/sbom.json
	@echo "written: results/sbom.json"

.PHONY: audit
audit: $(READY) ## Look the locked packages up in a database of known vulnerabilities (needs the network; exit 3 without)
	@deploy/checks/audit $(PY)

.PHONY: pin
pin: $(READY) ## Pin the images by digest in deploy/compose.pinned.yaml, which make up then takes (needs a registry)
	@$(LOCAL) pin

.PHONY: fuzz
fuzz: $(READY) ## Fuzz what decides whether an item is a task (SECONDS=60)
	@$(PY) -m pip install -qq --require-hashes -r requirements/fuzz.txt
	@mkdir -p .run/fuzz
	$(PY) -m tests.fuzz.decode .run/fuzz -dict=tests/fuzz/json.dict -max_len=2000 \
	  -artifact_prefix=.run/fuzz- -max_total_time=$(or $(SECONDS),60)

.PHONY: lock
lock: $(READY) ## Remake requirements/*.txt from pyproject.toml (UPGRADE=1 takes the newest versions)
	@deploy/checks/lock $(VENV)/bin/uv $(if $(UPGRADE),--upgrade)

.PHONY: clean
clean: ## Stop everything and delete the queue's data, .venv and caches
	@if [ -x $(PY) ]; then $(LOCAL) clean; fi
	rm -rf $(VENV) .venv-* .run .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment: made once, and again when a lock has changed. The stamp is written last.
$(READY): requirements/dev.txt pyproject.toml
	@if [ -z "$(PYTHON)" ]; then \
	  echo "taskrig needs Python 3.11 or newer, and none is on the PATH: install one, or name it with PYTHON=/path/to/python3" >&2; exit 2; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "taskrig needs Python 3.11 or newer; $(PYTHON) is not: name another with PYTHON=/path/to/python3" >&2; exit 2; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	  echo "$(PYTHON) cannot make virtual environments: install its venv module (Debian, Ubuntu: apt install python3-venv)" >&2; exit 2; }
	@echo "installing into $(VENV) (about 20 s the first time)"
	@[ -x $(PY) ] || $(PYTHON) -m venv --clear $(VENV)
	@$(PY) -m pip install -qq --require-hashes -r requirements/dev.txt
	@$(PY) -m pip install -qq --no-deps --no-build-isolation --no-index --editable .
	@touch $@
