# The commands of this repository. `make` alone lists them.

.DEFAULT_GOAL := help
.PHONY: help setup demo-clean build lint test

help: ## this list
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1|\2/p' $(MAKEFILE_LIST) | awk -F'|' '{printf "%-22s %s\n", $$1, $$2}'

setup: ## installs what is missing, or says what to install
	@scripts/setup

demo-clean: ## removes what the demo left
	@scripts/demo-clean

build: setup ## the two programs, headwater and headwater-worker
	cargo build --locked --package cli --package worker

lint: setup ## formatting and clippy
	cargo fmt --all --check
	cargo clippy --locked --workspace --all-targets -- --deny warnings

test: lint ## everything that has to hold: lint, all tests
	@scripts/test
