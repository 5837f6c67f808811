# What a developer runs. `make` lists the targets.
# Each step leaves a stamp in the virtual environment, so that a second run does only what has changed.

VENV ?= .venv
PY := $(VENV)/bin/python
STAMPS := $(VENV)/.stamps
PIP := $(PY) -m pip --disable-pip-version-check --quiet
CORE := $(wildcard src/everwire/_core/*.pyx src/everwire/_core/*.pxd src/everwire/_core/*.h)

# Variables to set on the command line: PYTHON=python3.13 HOST=0.0.0.0 PORT=9000 ARGS="-k deflate"
PYTHON ?=
HOST ?=
PORT ?=
ARGS ?=

# Says what a Python lacks to build the package with it; silent if it lacks nothing.
define CHECK
import os, shlex, shutil, sys, sysconfig
from importlib.util import find_spec
compiler = shlex.split(os.environ.get("CC") or sysconfig.get_config_var("CC") or "cc")[0]
if sys.version_info < (3, 11):
    sys.exit("is Python %d.%d, and 3.11 or later is needed" % sys.version_info[:2])
if not (find_spec("venv") and find_spec("ensurepip")):
    sys.exit("has no venv module (Debian and Ubuntu: apt install python3-venv)")
if not os.path.exists(os.path.join(sysconfig.get_path("include"), "Python.h")):
    sys.exit("has no headers (Debian and Ubuntu: apt install python3-dev)")
if not shutil.which(compiler):
    sys.exit("is built with the C compiler %r, which is not installed: install a C compiler (Debian and Ubuntu:"
             " apt install build-essential, macOS: xcode-select --install) or set CC" % compiler)
endef
export CHECK

.PHONY: help
help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: serve
serve: $(STAMPS)/core ## Install what is needed and start the server (HOST, PORT; ARGS for `everwire serve`)
	@$(VENV)/bin/everwire serve $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT)) $(ARGS)

.PHONY: serve-cluster
serve-cluster: $(STAMPS)/test $(STAMPS)/core ## Start two nodes and three NATS servers on this machine (PORT; ARGS for the script)
	@$(PY) deploy/serve_cluster.py $(if $(PORT),--port $(PORT)) $(ARGS)

.PHONY: test
test: $(STAMPS)/test $(STAMPS)/core ## Run all tests, the linters among them, in two processes (or ARGS for pytest)
	@$(PY) -m pytest $(or $(ARGS),--numprocesses 2 --dist loadfile)

.PHONY: lint
lint: $(STAMPS)/test ## Check format, style and types
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy
	$(VENV)/bin/pyright --pythonpath $(PY)

.PHONY: format
format: $(STAMPS)/test ## Format the code and fix what can be fixed
	$(VENV)/bin/ruff check --fix-only .
	$(VENV)/bin/ruff format .

.PHONY: build
build: $(STAMPS)/core ## Build the native core in place, for development

.PHONY: docs
docs: $(STAMPS)/test ## Build the documentation as a site in site/ (ARGS for mkdocs build)
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --quiet --strict $(ARGS)
	@echo "Built site/index.html; \`make docs-serve\` shows it"

.PHONY: docs-serve
docs-serve: $(STAMPS)/test ## Serve the documentation, anew at each change (HOST, PORT)
	@NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs serve --dev-addr $(or $(HOST),127.0.0.1):$(or $(PORT),8000) $(ARGS)

.PHONY: bench
bench: $(STAMPS)/test $(STAMPS)/core ## Measure, against other libraries (ARGS for bench/run.py)
	$(PY) bench/run.py $(ARGS)

.PHONY: conformance
conformance: $(STAMPS)/test $(STAMPS)/core ## Run other projects' protocol suites in full (ARGS for the runner)
	$(PY) tests/conformance/run.py --full $(ARGS)

.PHONY: sdk-tests
sdk-tests: $(STAMPS)/test $(STAMPS)/core ## Run the suites of Centrifugo's SDKs against a hub (JS=PATH, a checkout of centrifuge-js; ARGS="--engine redis": two nodes)
	$(PY) tests/sdk/run.py $(if $(JS),--js $(JS)) $(ARGS)

.PHONY: fuzz
fuzz: $(STAMPS)/test $(STAMPS)/core ## Look for inputs that break the parsers (ARGS for tests/fuzz/run.py)
	$(PY) tests/fuzz/run.py $(ARGS)

.PHONY: chaos
chaos: $(STAMPS)/test $(STAMPS)/core ## Cut clients and kill servers, and count what arrives (ARGS for tests/chaos/run.py)
	$(PY) tests/chaos/run.py $(ARGS)

.PHONY: soak
soak: $(STAMPS)/test $(STAMPS)/core ## Run under load for long, watching memory (ARGS for tests/soak.py)
	$(PY) tests/soak.py $(ARGS)

# A build of its own beside the one in place. Python itself is not instrumented, so the runtime is loaded ahead of
# it; it frees little before it exits, so leaks are not reported.
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=undefined
RUNTIMES = $(shell $${CC:-cc} -print-file-name=libasan.so) $(shell $${CC:-cc} -print-file-name=libstdc++.so)
.PHONY: asan
asan: $(STAMPS)/test ## Run the tests of the core with address and undefined-behaviour sanitizers (Linux)
	CFLAGS="$(SANITIZE)" LDFLAGS="$(SANITIZE)" EVERWIRE_DEBUG=1 \
		$(PY) setup.py --quiet build --build-base build/asan --build-lib build/asan/lib
	LD_PRELOAD="$(RUNTIMES)" ASAN_OPTIONS=detect_leaks=0:abort_on_error=1 UBSAN_OPTIONS=print_stacktrace=1 \
		PYTHONMALLOC=malloc PYTHONPATH=build/asan/lib \
		$(PY) -m pytest $(or $(ARGS),tests/core tests/websocket)

.PHONY: dist
dist: $(STAMPS)/package ## Make the source distribution and a wheel in dist/
	$(PIP) install build
	$(PY) -m build

.PHONY: clean
clean: ## Remove all that was built; the virtual environment stays
	rm -rf build dist site wheelhouse src/*.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -f src/everwire/_core/*.c src/everwire/_core/*.so $(STAMPS)/core
	find src tests bench docs examples -name __pycache__ -type d -prune -exec rm -rf {} +

.PHONY: distclean
distclean: clean ## Remove the virtual environment and what was downloaded, too
	rm -rf $(VENV) .cache bench/.cache

# --- the steps -------------------------------------------------------------------------------------------------

$(STAMPS)/venv:
	@if ! $(PY) -c "$$CHECK" 2>/dev/null; then \
		found=; lacks=; \
		for candidate in $(or $(PYTHON),python3 python3.14 python3.13 python3.12 python3.11); do \
			command -v "$$candidate" >/dev/null || continue; \
			if lack=$$("$$candidate" -c "$$CHECK" 2>&1); then found=$$candidate; break; fi; \
			lacks="$$lacks\n  $$candidate $$(printf '%s\n' "$$lack" | tail -n 1)"; \
		done; \
		if [ -z "$$found" ]; then \
			printf "No Python fit to build everwire was found: it takes 3.11 or later and a C compiler.%b\n" "$$lacks" >&2; \
			echo "Install one, or name it: make PYTHON=/path/to/python3" >&2; \
			exit 1; \
		fi; \
		echo "Making $(VENV) with $$("$$found" --version)"; \
		"$$found" -m venv --clear $(VENV); \
	fi
	@$(PIP) install --upgrade "pip>=25.1"
	@mkdir -p $(STAMPS) && touch $@

# The core is left out here and built in place by the next step, which compiles only what has changed.
$(STAMPS)/package: pyproject.toml | $(STAMPS)/venv
	@echo "Installing everwire and what it needs"
	@$(PIP) install --group build
	@EVERWIRE_CORE=0 $(PIP) install --no-build-isolation --editable ".[cli,deflate]"
	@EVERWIRE_CORE=0 $(PIP) install --no-build-isolation --editable ".[uvloop]" 2>/dev/null \
		|| echo "uvloop could not be installed: asyncio's own event loop is used"
	@touch $@

$(STAMPS)/core: setup.py $(CORE) $(STAMPS)/package
	@echo "Building the native core"
	@$(PY) setup.py --quiet build_ext --inplace
	@touch $@

$(STAMPS)/test: pyproject.toml $(STAMPS)/package
	@echo "Installing what the tests need"
	@EVERWIRE_CORE=0 $(PIP) install --no-build-isolation --group test --editable ".[all]"
	@touch $@
