# Everything a fresh Debian 12 or Raspberry Pi OS machine needs: Python 3.11 with venv, git, make, gcc.
#
#   make install   the environment .venv, from pinned versions
#   make demo      train on one recording, convert, detect the attacks of another, alerts on screen
#   make test      linters, types and all tests, in three environments
#   make lint      linters and types alone
#   make bench     the figures of the README
#   make deb       Debian packages of the agent for amd64 and arm64 (packaging/README.md: what it needs)
#   make test-deb  builds, installs, runs under systemd and purges them in Debian 12 roots; as root
#   make test-arm64  the agent's tests and verdicts on an emulated 64-bit Arm; as root

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PIP_INSTALL = -m pip install --quiet --disable-pip-version-check

# pip applies PIP_CONSTRAINT to build environments too, so setuptools is pinned as well.
export PIP_CONSTRAINT = $(CURDIR)/constraints.txt

# Tests of what runs on a gateway; they pass without TensorFlow, in each interpreter's environment.
AGENT_TESTS = tests/agent tests/alerting tests/capture tests/checking tests/config tests/contract \
              tests/detect tests/flow tests/service
STATION_TESTS = $(filter-out $(AGENT_TESTS) tests/__pycache__,$(patsubst %/,%,$(wildcard tests/*/))) \
                $(wildcard tests/test_*.py) tests/alerting/test_embedded_broker.py tests/agent/test_extract.py

# The compiled part is built when the package is installed.
SOURCES = pyproject.toml setup.py constraints.txt $(wildcard edge_agent/native/*.[ch])

.PHONY: install demo test test-base test-tflite test-station lint bench deb test-deb test-arm64 clean

install: .venv/.installed

.venv/.installed: $(SOURCES)
	$(PYTHON) -m venv .venv
	.venv/bin/python $(PIP_INSTALL) --editable '.[train,demo,test]'
	touch $@

# The base install, as a gateway has it, and what runs its tests.
.venv-base/.installed: $(SOURCES)
	$(PYTHON) -m venv .venv-base
	.venv-base/bin/python $(PIP_INSTALL) --editable '.[signing]' pytest pytest-timeout hypothesis jsonschema zstandard
	touch $@

# The legacy interpreter. It needs numpy 1, the one pin that differs; build tools follow the rest.
.venv-tflite/.installed: $(SOURCES)
	$(PYTHON) -m venv .venv-tflite
	sed -e 's/^numpy==.*/numpy==1.26.4/' -e '/^ai-edge-litert==/d' constraints.txt > .venv-tflite/constraints.txt
	PIP_CONSTRAINT=$(CURDIR)/.venv-tflite/constraints.txt .venv-tflite/bin/python $(PIP_INSTALL) \
	    --editable '.[tflite-runtime,signing]' pytest pytest-timeout hypothesis jsonschema
	.venv-tflite/bin/python -m pip uninstall --quiet --yes ai-edge-litert
	touch $@

demo: .venv/.installed
	.venv/bin/python -m benchmarks demo

test: lint test-base test-tflite test-station

test-base: .venv-base/.installed
	.venv-base/bin/python -m pytest --quiet $(AGENT_TESTS)

test-tflite: .venv-tflite/.installed
	.venv-tflite/bin/python -m pytest --quiet $(AGENT_TESTS)

test-station: .venv/.installed
	.venv/bin/python -m pytest --quiet $(STATION_TESTS)

lint: .venv/.installed
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports --no-logo
	.venv/bin/clang-format --dry-run --Werror $(wildcard edge_agent/native/*.[ch] tests/fuzz/*.c benchmarks/throughput/*.c)
	.venv/bin/mypy

bench: .venv/.installed
	.venv/bin/python -m benchmarks demo --keep demo-output
	.venv/bin/python -m benchmarks accuracy demo-output/run demo-output/model.tflite \
	    --capture benchmarks/lab/sessions/session-b/capture.pcap.gz \
	    --truth benchmarks/lab/sessions/session-b/truth.json
	.venv/bin/python -m benchmarks latency demo-output/run demo-output/model.tflite

deb: .venv/.installed
	PYTHON=$(CURDIR)/.venv/bin/python packaging/build-deb amd64 build/debian
	PYTHON=$(CURDIR)/.venv/bin/python packaging/build-deb arm64 build/debian

test-deb: .venv/.installed
	EDGE_IDS_TEST_PACKAGES=1 .venv/bin/python -m pytest --quiet tests/packaging

test-arm64: .venv/.installed
	PYTHON=$(CURDIR)/.venv/bin/python packaging/test-arm64 build/test-arm64 $(AGENT_TESTS)

clean:
	rm -rf .venv .venv-base .venv-tflite demo-output build *.egg-info
