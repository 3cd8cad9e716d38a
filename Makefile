# `make` shows what there is.  Needs Python 3.11 or later and nothing else; PYTHON=... chooses the interpreter.

VENV := .venv
BIN  := $(VENV)/bin

ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
ifndef PYTHON
PYTHON := $(shell for name in python3 python3.13 python3.12 python3.11 python; do \
	$$name -c '$(ENOUGH)' 2>/dev/null && echo $$name && break; done)
endif

.DEFAULT_GOAL := help
.PHONY: help demo test test-unit test-oldest test-pythons sanitize chaos late lint bench bench-quick bench-versions docs picture clean

help:
	@echo "make demo       a broker, a simulated X API and a worker; Ctrl-C ends it"
	@echo "                (BROKER=kafka://host:9092: exactly once, on that broker; ARGS='--rate 50' and others)"
	@echo "make test       lint, types and all tests that this machine can run; says what it skipped"
	@echo "make test-unit  the tests that need nothing, in less than a minute on two idle cores"
	@echo "make test-oldest  unit and broker tests on the oldest versions of the dependencies that are allowed"
	@echo "make test-pythons  the unit tests on each other Python, from 3.11 on, that this machine has"
	@echo "make sanitize   the part in C under gcc's AddressSanitizer and UndefinedBehaviorSanitizer"
	@echo "make chaos      10 minutes of faults for each way of repair, then the topic against the truth"
	@echo "                (CONNECTOR_CHAOS_MINUTES, CONNECTOR_CHAOS_SEED; ARGS='-k search' for one way)"
	@echo "make late       200 late requests of each kind to Kafka, at several rates: nothing twice, nothing lost"
	@echo "make lint       ruff, mypy, and the directions of imports"
	@echo "make bench      speed, latency, memory beside the bare scripts and Kafka Connect: about 25 minutes,"
	@echo "                written to docs/benchmarks.md (ARGS='--only latency --seconds 60' and others)"
	@echo "make bench-quick  the contenders alone in less than 3 minutes; writes nothing"
	@echo "make bench-versions BEFORE=REV  this tree beside the git revision REV, in one run of about 12 minutes,"
	@echo "                written to docs/benchmarks.md (ARGS='--rounds 2 --print' and others)"
	@echo "make docs       docs/configuration.md, from the declarations"
	@echo "make picture    docs/demo.svg: the screen of the demo, run for half a minute"
	@echo "make clean      removes $(VENV), build/, dist/ and caches"

# A wrong option is told by $(error), so that its sentence is the last line and not make's own about an exit code.
WRONG = $(if $(strip $(BROKER)$(ARGS)),$(shell $(BIN)/python -c \
  'import os, sys, pathlib; from connector.cli.demo.command import wrong; print(wrong(sys.argv[1:], os.environ, pathlib.Path("/")))' \
  --broker "$(BROKER)" $(ARGS) 2>&1))

demo: $(VENV)/.demo
	@$(if $(WRONG),$(error $(WRONG)))exec $(BIN)/python -m connector.cli.demo.command --broker "$(BROKER)" $(ARGS)

# All, whatever becomes of the first; each skip is listed with its reason.  Two at once where a test mostly waits; those
# marked `alone` need three brokers, or repairs as fast as X's windows, and have the machine to themselves.  Exit code 5 of
# pytest is that ARGS chose none of the tests of a run.
test: $(VENV)/.dev
	@linted=0; $(MAKE) --no-print-directory lint || linted=1; \
	$(BIN)/python -m pytest $(UNIT) $(ARGS); codes=$$?; \
	$(BIN)/python -m pytest -n2 --dist=loadfile -m "(broker or e2e) and not alone" $(ARGS); codes="$$codes $$?"; \
	$(BIN)/python -m pytest -m alone $(ARGS); codes="$$codes $$?"; \
	case $$codes in "5 5 5"|*[!05\ ]*) exit 1 ;; esac; \
	[ $$linted = 0 ] || { echo "The tests are fine; lint is not, see above."; exit 1; }

# Four at once, also on two cores: half of the time is spent in waits, for a silence to last or a limit to end.  A file stays
# in one of the processes, for what its tests share.  ARGS="-n0 --pdb" for a debugger.
UNIT := -n4 --dist=loadfile

# Images of Python set this; each process that a test starts would then compile the connector anew, and each of pytest's
# all tests, which is a third of the time.
unexport PYTHONDONTWRITEBYTECODE

test-unit: $(VENV)/.dev
	$(BIN)/python -m pytest $(UNIT) $(ARGS)

# On the wheel, without a `connector` beside the tests; `.ci/run` has the unit tests of the first, too.
test-oldest: $(VENV)/.dev
	@.ci/wheel build && .ci/wheel lay oldest $(BIN)/python oldest
	@cd build/oldest/tree && { ../venv/bin/python -m pytest -p no:cacheprovider $(UNIT) $(ARGS); codes=$$?; \
	../venv/bin/python -m pytest -p no:cacheprovider -n2 --dist=loadfile -m "broker and not alone" $(ARGS); codes="$$codes $$?"; \
	case $$codes in "5 5"|*[!05\ ]*) exit 1 ;; esac; }

test-pythons: $(VENV)/.dev
	@.ci/pythons $(ARGS)

# In a copy, as the compiled part lies beside the others.  Python's own allocator would hide what is beyond a block.
SANITIZED := tests/unit/records/test_native.py tests/unit/records/test_hostile_lines.py tests/unit/kafka/test_kafka_partitioner.py \
	tests/unit/kafka/test_kafka_record_batch.py

sanitize: $(VENV)/.dev
	@rm -rf build/sanitized && mkdir -p build/sanitized
	@cp -r connector tests pyproject.toml setup.py build/sanitized/ && rm -f build/sanitized/connector/records/*.so
	@gcc -g -O1 -shared -fPIC -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer \
	  -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers -Werror \
	  -I"$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))')" \
	  connector/records/_native.c -o build/sanitized/connector/records/_native.abi3.so
	@cd build/sanitized && LD_PRELOAD="$$(gcc -print-file-name=libasan.so)" ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc \
	  $(abspath $(BIN))/python -m pytest -q -p no:cacheprovider $(SANITIZED) $(ARGS)

chaos: $(VENV)/.dev
	@CONNECTOR_CHAOS_MINUTES="$${CONNECTOR_CHAOS_MINUTES:-10}" $(BIN)/python -m pytest -m e2e tests/e2e/test_chaos.py $(ARGS)

late: $(VENV)/.dev
	@CONNECTOR_LATE_REQUESTS="$${CONNECTOR_LATE_REQUESTS:-200}" $(BIN)/python -m pytest -m broker -s tests/broker/test_late_requests.py tests/broker/test_late_requests_of_three.py $(ARGS)

lint: $(VENV)/.dev
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check connector tests benchmarks
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/python -m mypy

bench: $(VENV)/.bench
	@$(BIN)/python -m benchmarks $(ARGS)

bench-quick: $(VENV)/.bench
	@$(BIN)/python -m benchmarks --quick $(ARGS)

bench-versions: $(VENV)/.bench
	@$(if $(BEFORE),,$(error Say which revision to compare with: make bench-versions BEFORE=REV))\
	$(BIN)/python -m benchmarks --only versions --before "$(BEFORE)" $(ARGS)

docs: $(VENV)/.demo
	@mkdir -p build
	$(BIN)/python -m connector.config.docs > build/configuration.md
	mv build/configuration.md docs/configuration.md
	$(BIN)/python -m connector.kafka.tables

picture: $(VENV)/.demo
	@$(BIN)/python docs/picture.py

clean:
	rm -rf $(VENV) build dist *.egg-info connector/records/*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -prune -exec rm -rf {} +

# -- installing; a stamp says what is done, so the second time takes no time

$(VENV)/.pip:
	@$(or $(PYTHON),python3) -c '$(ENOUGH)' 2>/dev/null || { \
	  echo "Murmuration needs Python 3.11 or later, and $(or $(PYTHON),python3) is not: choose one with make PYTHON=/path/to/python3.11" >&2; \
	  exit 1; }
	@echo "Creating $(VENV) with $$($(PYTHON) --version) ..."
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade "pip>=25.1"
	@touch $@

$(VENV)/.demo: $(VENV)/.pip pyproject.toml setup.py connector/records/_native.c
	@echo "Installing into $(VENV), once ..."
	@PYTHONWARNINGS="ignore:Editable installation" $(BIN)/python -m pip install --quiet --editable ".[embedded]"
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	@echo "Installing what the tests need, once ..."
	@$(BIN)/python -m pip install --quiet --group dev
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	@$(BIN)/python -m pip install --quiet --group bench
	@touch $@
