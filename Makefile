# `make run` and `make test` do all their own set-up on a bare Debian machine with root. `make help` lists the rest.

SHELL := /bin/bash
.DEFAULT_GOAL := help

# Everything that is fetched or built lies outside of the clone, in a folder that is named after the set-up's version.
CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/streamfleet/v1
export CARGO_TARGET_DIR := $(CACHE)/target
export PATH := $(HOME)/.cargo/bin:$(PATH)

BIN := $(CARGO_TARGET_DIR)/release/streamfleet
CARGO := cargo
PYTHON := $(CACHE)/venv/bin/python
OUT := out/flights

.PHONY: help setup servers data build run test unit lint doc oracle refusals rescale kills s3 kafka kafka-kills kafka-faults kafka-features
.PHONY: example-clickstream simulate test-long clean clean-cache

help: ## List what can be made.
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-19s %s\n", $$1, $$2}'

setup: ## Install what is missing: system packages, Rust, Python packages.
	@CACHE=$(CACHE) bash deploy/setup/setup.sh
	@bash deploy/setup/checkout.sh

servers: setup ## Fetch what the servers of tests and examples consist of.
	@CACHE=$(CACHE) bash deploy/setup/servers.sh

data: setup ## Fetch the example's data: three million flights.
	@CACHE=$(CACHE) bash deploy/setup/data.sh

build: setup ## Build the binary.
	@echo "build: streamfleet (the first time takes about ten minutes)"
	@$(CARGO) build --release --locked --workspace

run: build data ## Run the flights example and show its results.
	@CACHE=$(CACHE) BIN=$(BIN) OUT=$(OUT) bash deploy/examples/flights/run.sh

example-clickstream: build servers ## Run the clickstream example on a real Kafka broker and S3 server.
	@CACHE=$(CACHE) $(PYTHON) deploy/examples/clickstream/run.py --bin $(BIN) --out out/clickstream

# Those between real servers mostly wait, so two of them run beside each other.
test: setup data servers lint build unit doc oracle refusals rescale kills ## Run every test.
	@$(MAKE) --no-print-directory -j2 s3 kafka example-clickstream
	@echo "test: all passed"

lint: setup ## Check formatting, warnings and licences.
	@echo "lint: rustfmt, clippy, licences"
	@$(CARGO) fmt --all --check
	@$(CARGO) clippy --release --locked --workspace --all-targets --quiet -- -D warnings
	@python3 deploy/setup/licences.py

unit: build servers ## Run the crates' tests, the simulation's seeds among them.
	@echo "unit: tests of every crate"
	@$(PYTHON) e2e/servers/with_servers.py -- $(CARGO) test --release --locked --workspace

doc: build ## Build the API documentation; a warning is an error.
	@RUSTDOCFLAGS="-D warnings" $(CARGO) doc --release --locked --workspace --no-deps --quiet

oracle: build data ## Compare results with DuckDB's.
	@$(PYTHON) e2e/oracle/check.py --bin $(BIN) --data $(CACHE)/data

refusals: build ## Give bad input, full disks and damaged files; every message must say what, where and what to do.
	@$(PYTHON) e2e/oracle/refusals.py --bin $(BIN)

rescale: build data ## Stop jobs half-way and restore them at other parallelisms.
	@$(PYTHON) e2e/oracle/rescale.py --bin $(BIN) --data $(CACHE)/data

kills: build data ## Kill a running job at random moments; its result must be that of an undisturbed run.
	@$(PYTHON) e2e/oracle/kills.py --bin $(BIN) --data $(CACHE)/data --kills $(or $(KILLS),100)

s3: build data ## Checkpoints and output on a real S3 server: S3_KILLS kills (20), outages, faults; exact rows, nothing left over.
	@$(PYTHON) e2e/oracle/s3.py --bin $(BIN) --data $(CACHE)/data --kills $(or $(S3_KILLS),20)
	@$(PYTHON) e2e/oracle/s3_log.py --bin $(BIN)

kafka: kafka-kills kafka-faults kafka-features ## Kill jobs between real topics, stop their broker, use what it can.

kafka-kills: build servers ## Kill a job between real topics KAFKA_KILLS times (100).
	@CACHE=$(CACHE) $(PYTHON) e2e/oracle/kafka.py --bin $(BIN) --kills $(or $(KAFKA_KILLS),100)

kafka-faults: build servers ## Stop, pause and restart a job's broker; wrong log-ins, topics and records.
	@CACHE=$(CACHE) $(PYTHON) e2e/oracle/kafka_faults.py --bin $(BIN)

kafka-features: build servers ## Kafka's options, changelogs, formats that others wrote, reading at one pace.
	@CACHE=$(CACHE) $(PYTHON) e2e/oracle/kafka_options.py --bin $(BIN)
	@CACHE=$(CACHE) $(PYTHON) e2e/oracle/kafka_changes.py --bin $(BIN)
	@CACHE=$(CACHE) $(PYTHON) e2e/oracle/kafka_formats.py --bin $(BIN)
	@CACHE=$(CACHE) $(PYTHON) e2e/oracle/kafka_alignment.py --bin $(BIN)

simulate: build ## Simulate SEEDS seeds (1000).
	@STREAMFLEET_SEEDS=$(or $(SEEDS),1000) $(CARGO) test --release --locked -p streamfleet-simulation -- --nocapture seeds

test-long: test ## The same tests with larger counts.
	@$(MAKE) simulate SEEDS=10000
	@$(MAKE) kills KILLS=500
	@$(MAKE) s3 S3_KILLS=200
	@$(MAKE) kafka KAFKA_KILLS=1000


clean: ## Remove results.
	@rm -rf out

clean-cache: ## Remove everything that was fetched or built.
	@rm -rf $(CACHE)
