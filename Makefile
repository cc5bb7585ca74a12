# The development workflow; .ci/run calls the same recipes. 'make help' lists them.
.POSIX:
.SUFFIXES:
.PHONY: help setup demo up machine check test test-serial test-parallel bench chaos fuzz system lint lock gpu-check clean

VENV = .venv
BIN = $(VENV)/bin
STAMP = $(VENV)/.atelier-setup
# Which requirements are in the environment, dev or dev-gpu; DEVICE=cpu keeps demo and up from installing the latter.
KIND = $(VENV)/.atelier-requirements
FAILED = $(VENV)/.atelier-gpu-failed
DEVICE = auto
PIP = $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check
# Two workers for each core, since many tests wait; but not more than memory bears: each may hold TensorFlow.
# In which one a test runs is said in tests/conftest.py; the order is kept, so that long tests do not come last.
PARALLEL = -n $$(( $$(getconf _NPROCESSORS_ONLN) * 2 )) --maxprocesses 8 --dist loadfile \
    --no-loadscope-reorder
DURATIONS = 25
QUICK = not (acceptance or browser or chaos or process or serial or slow)
EXPORT = $(BIN)/uv export --quiet --frozen --no-emit-project --no-header --no-annotate

help:  ## Show this list
	@echo "make setup PYTHON=/path/to/python chooses the interpreter; the recipes:"
	@sed -n 's/^\([a-z-]*\):.*  ## /  make \1	/p' Makefile | expand -t 19

setup: $(STAMP)  ## Make the environment in .venv from the locked requirements

$(STAMP): pyproject.toml requirements/dev.txt requirements/dev-gpu.txt requirements/fast.txt
	@suits() { "$$1" -c 'import sys, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; }; \
	if suits $(BIN)/python && $(BIN)/python -m pip --version >/dev/null 2>&1; then exit 0; fi; \
	for python in $${PYTHON:-python3.13 python3.12 python3.11 python3}; do \
	    if suits "$$python"; then \
	        echo "Making $(VENV) with $$("$$python" --version) ..."; \
	        exec "$$python" -m venv --clear $(VENV); \
	    fi; \
	done; \
	echo "Atelier needs Python 3.11, 3.12 or 3.13 with its venv module (Debian: python3-venv)." >&2; \
	echo "Tried: $${PYTHON:-python3.13 python3.12 python3.11 python3}." >&2; \
	echo "Name another: make setup PYTHON=/path/to/python3.12" >&2; \
	exit 1
	@kind=$${REQUIREMENTS:-$$(cat $(KIND) 2>/dev/null || echo dev)}; \
	case $$kind in dev) size="about 2 GB";; *) size="for NVIDIA GPUs, about 8 GB";; esac; \
	echo "Installing the locked requirements (minutes, and $$size, the first time) ..."; \
	$(PIP) --require-hashes -r requirements/$$kind.txt && echo $$kind > $(KIND)
	@$(PIP) --require-hashes -r requirements/fast.txt || { \
	    [ -z "$${CI-}" ] || { echo "requirements/fast.txt could not be installed: with CI set, that is a failure" >&2; exit 1; }; \
	    echo "The packages of the method fast could not be installed; all else works. To try again: touch requirements/fast.txt, then make setup" >&2; \
	}
	@$(PIP) --no-deps --no-build-isolation -e .
	@touch $(STAMP)

# TensorFlow with CUDA lies in the same folder as that for the CPU, and one removes files of the other: where the
# driver lists a GPU for the first time, the environment is made anew. (By the name of make: a line with its
# variable is carried out by make -n, too.)
machine:
	@wanted=$$(sh requirements/choose.sh "$(DEVICE)") || exit 2; \
	if [ "$$wanted" = dev-gpu ] && [ "$$(cat $(KIND) 2>/dev/null)" != dev-gpu ]; then \
	    if [ -e $(FAILED) ] && [ "$(DEVICE)" != gpu ]; then \
	        echo "The packages for the GPU could not be installed, so the CPU is used; to try again: make up DEVICE=gpu" >&2; \
	    else \
	        echo "There is an NVIDIA GPU: making $(VENV) for it (make up DEVICE=cpu does without) ..."; \
	        rm -rf $(VENV); \
	        if REQUIREMENTS=dev-gpu make -s --no-print-directory $(STAMP); then exit 0; fi; \
	        rm -rf $(VENV); \
	        echo "The packages for the GPU could not be installed, so the CPU is used; to try again: make up DEVICE=gpu" >&2; \
	        REQUIREMENTS=dev make -s --no-print-directory $(STAMP) && touch $(FAILED); \
	    fi; \
	fi; \
	make -s --no-print-directory $(STAMP)

demo: machine  ## Run one job from start to end; its pictures lie in build/demo
	@$(BIN)/atelier demo

up: machine  ## Keep the service running on http://127.0.0.1:8000 until Ctrl-C
	@$(BIN)/atelier up

check: lint  ## Run all checks, and the tests that start no process: the inner loop
	@$(BIN)/pytest --quiet $(PARALLEL) -m "$(QUICK)"

test: lint system  ## Run all checks and all tests, in parallel; what CI runs
	@$(MAKE) -k -j 2 test-serial test-parallel

# What judges how soon something happens waits most of the time; the other tests leave the processor to it.
test-serial: $(STAMP)
	@$(BIN)/pytest --durations=25 -m serial

test-parallel: $(STAMP)
	@nice -n 15 $(BIN)/pytest $(PARALLEL) --durations=$(DURATIONS) -m "not serial"

bench: $(STAMP)  ## Measure, side by side: about 20 minutes on two cores that do nothing else (TORCH=python for its row)
	@$(BIN)/python -m benchmarks $${TORCH:+--torch "$$TORCH"}

chaos: $(STAMP)  ## Prove that nothing is lost: planted bugs, 10 000 jobs, 200 faults on the real engine (an hour)
	@mkdir -p build
	@$(BIN)/python -m tests.chaos.planted
	@$(BIN)/python -m tests.chaos volume --report build/chaos-volume.md
	@$(BIN)/python -m tests.chaos real --report build/chaos-real.md

fuzz: $(STAMP)  ## Send requests made from openapi.json for five minutes, by schemathesis
	@$(BIN)/python -m tests.fuzz

system:  ## Install what the tests need beside Python: curl, nginx, systemd's tools, Chromium and Prometheus, through apt where that can be done
	@have() { PATH=$$PATH:/usr/sbin; for program in $$1; do command -v "$$program" >/dev/null && return 0; done; return 1; }; \
	for programs in curl nginx "systemd-analyze systemd" "chromium-headless-shell chromium" prometheus; do \
	    if have "$$programs"; then continue; fi; \
	    if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	        for program in $$programs; do \
	            echo "Installing $$program ..."; \
	            alone=; [ "$$program" != prometheus ] || alone=--no-install-recommends; \
	            { apt-get update -qq && apt-get install -y -qq $$alone "$$program"; } >/dev/null || continue; \
	            case "$$program" in nginx|prometheus) \
	                { systemctl disable --now "$$program" || service "$$program" stop; } >/dev/null 2>&1 || true;; \
	            esac; \
	            continue 2; \
	        done; \
	    fi; \
	    echo "WARNING: there is no $${programs##* }, so what needs it is NOT tested:" >&2; \
	    echo "         the README's commands need curl, the proxy nginx, the units systemd-analyze, the pages Chromium, the alerts promtool." >&2; \
	done

lint: $(STAMP)  ## Run the linters, the type checker, the checks of imports and compose.yaml, and pip-audit
	@$(BIN)/ruff check --quiet
	@$(BIN)/ruff format --check --quiet
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-logo
	@$(BIN)/check-jsonschema --quiet --builtin-schema vendor.compose-spec compose.yaml compose.worker.yaml
	@$(BIN)/python requirements/audit.py

lock: $(STAMP)  ## Lock the newest allowed versions anew into requirements/
	@$(BIN)/uv lock --quiet --upgrade
	@$(EXPORT) --extra web --extra worker --extra heif --extra quickstart --extra s3 --group dev -o requirements/dev.txt
	@$(EXPORT) --extra web --extra gpu --extra heif --extra quickstart --extra s3 --group dev -o requirements/dev-gpu.txt
	@$(EXPORT) --extra web --extra quickstart --no-dev -o requirements/web.txt
	@$(EXPORT) --extra worker --no-dev -o requirements/worker.txt
	@$(EXPORT) --extra gpu --no-dev -o requirements/gpu.txt
	@$(EXPORT) --extra fast --no-dev -o requirements/fast.txt
	@$(EXPORT) --extra s3 --no-dev -o requirements/s3.txt
	@$(EXPORT) --only-group build -o requirements/build.txt

gpu-check: $(STAMP)  ## Prove that requirements/dev-gpu.txt installs, and loads on the CPU (8 GB; no part of test)
	@rm -rf build/gpu-check
	@$(BIN)/python -m venv build/gpu-check
	@build/gpu-check/bin/python -m pip install --quiet --quiet --disable-pip-version-check --no-cache-dir \
	    --require-hashes -r requirements/dev-gpu.txt
	@build/gpu-check/bin/python -m pip check
	@CUDA_VISIBLE_DEVICES=-1 TF_CPP_MIN_LOG_LEVEL=3 build/gpu-check/bin/python -c 'import tensorflow as tf; \
	    assert tf.test.is_built_with_cuda(); assert tf.linalg.trace(tf.eye(3)).numpy() == 3; \
	    print("TensorFlow", tf.__version__, "with CUDA", tf.sysconfig.get_build_info()["cuda_version"], "loads")'
	@rm -rf build/gpu-check

clean:  ## Remove the environment, the caches and build/; data/ stays
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
