# The commands of this repository. `make` alone lists them.

.DEFAULT_GOAL := help
.PHONY: help setup judges demo demo-clean build lambdas workers lint test bench release-check

help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-22s %s\n", $$1, $$2}'

setup: ## installs what is missing, or says what to install
	@scripts/setup

judges: ## setup, and what judges the AWS side: emulators, models, linters
	@scripts/setup judges

demo: setup ## Postgres to Hudi on this machine, end to end (WAREHOUSES=1)
	@scripts/demo

demo-clean: ## removes what the demo left
	@scripts/demo-clean

build: setup ## the two programs, headwater and headwater-worker
	cargo build --locked --workspace --bin headwater --bin headwater-worker

lambdas: ## the Lambdas as AWS runs them, by sam build
	@scripts/setup cross
	@scripts/aws-build lambdas

workers: ## the worker for the machines of clusters
	@scripts/setup cross
	@scripts/aws-build workers

lint: setup ## formatting and clippy
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- --deny warnings

test: judges lint ## everything that has to hold: lint, all tests, the demo
	@scripts/test

bench: setup ## speed and memory, as ratios measured in one run
	@scripts/bench

release-check: test ## make test, and what takes longer: sam build, Spark, 10 million rows
	@scripts/release-check
