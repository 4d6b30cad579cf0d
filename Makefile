# One word for each thing that is done to this repository. `make` alone lists them.

SWIFT ?= swift
PREFIX ?= /usr/local
RUNS ?= 1000000

.DEFAULT_GOAL := help
.PHONY: help demo test test-kvm build bench fuzz lint format install clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: ## Save, clone, restore and move a running guest on this machine, from nothing
	@scripts/install-dependencies run
	$(SWIFT) run -c release godwit demo

test: ## Run every test, the ones against real QEMUs included
	@scripts/install-dependencies test
	$(SWIFT) test

test-kvm: ## Boot a stock Linux in Godwit's own machine, on this host's KVM or in a lab
	@scripts/install-dependencies kvm
	@scripts/test-kvm

build: ## Build the release executable
	@scripts/install-dependencies build
	$(SWIFT) build -c release --product godwit

bench: ## Measure, as ratios to QEMU or to the machine itself in the same run
	@scripts/install-dependencies bench
	@scripts/bench

fuzz: ## Feed the decoders damaged input, RUNS times each
	@scripts/install-dependencies build
	@scripts/fuzz $(RUNS)

lint: ## Check the formatting and the scripts' syntax
	@scripts/lint

format: ## Rewrite the sources in the house format
	$(SWIFT) format format --in-place --recursive --parallel $$(scripts/lint --list)

install: build ## Copy the executable and its completions below PREFIX (/usr/local)
	@scripts/install "$(DESTDIR)$(PREFIX)"

clean: ## Remove what was built
	$(SWIFT) package clean
