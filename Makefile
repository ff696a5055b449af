# What a person or CI does with Tidegate. Each target installs what it needs
# and is missing.

.DEFAULT_GOAL := help
.PHONY: help run test check format lint docs deny bench instructions peers sanitize soak

# How long each soaking test goes on, in seconds.
TIDEGATE_SOAK_SECONDS ?= 600

SETUP := scripts/setup.sh rust cc
STEP := scripts/step.sh

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

run: ## Build a release and serve the demo on 127.0.0.1:8080
	@$(SETUP)
	cargo run --locked --release -- demo

test: ## Run every test
	@$(SETUP) curl haproxy named nginx node prometheus python3 schemathesis websockets wrk
	@$(STEP) build-tests cargo test --locked --workspace --no-run
	@$(STEP) test cargo test --locked --workspace

check: format lint docs deny ## Check the format, the lints, the docs and the dependencies

format:
	@$(SETUP)
	@$(STEP) format cargo fmt --all --check

lint:
	@$(SETUP)
	@$(STEP) lint cargo clippy --locked --workspace --all-targets -- -D warnings

docs:
	@$(SETUP)
	@RUSTDOCFLAGS="-D warnings" $(STEP) docs cargo doc --locked --workspace --no-deps --document-private-items

deny:
	@$(SETUP) cargo-deny
	@$(STEP) deny .tools/cargo-deny --locked check bans licenses sources

bench: ## Time the parts of a request with Criterion; ARGS='head/' for those of that name
	@$(SETUP)
	cargo bench --locked --package bench -- $(ARGS)

instructions: ## Count the instructions of the parts, and compare with the commit before; ARGS=--help for more
	@$(SETUP) python3 valgrind
	@$(STEP) instructions python3 scripts/bench.py $(ARGS)

peers: ## Compare speed with nginx, HAProxy, Caddy and Pingora; FULL=1 for all cases, ARGS=--help for more
	@$(SETUP) cc haproxy nginx python3 wrk
	@$(SETUP) caddy || echo "peers: without Caddy"
	@$(SETUP) cmake && cargo build --release --locked --manifest-path loadtest/peers/pingora/Cargo.toml \
		--target-dir "$${CARGO_TARGET_DIR:-target}/pingora" || echo "peers: without Pingora"
	cargo build --release --locked --package loadtest
	$(if $(TIDEGATE),,cargo build --release --locked)
	python3 loadtest/peers/run.py $(if $(FULL),--full) $(ARGS)

sanitize: ## Run the runtime's tests under AddressSanitizer, or valgrind with CHECKER=valgrind
	@$(SETUP)
	@$(STEP) sanitize scripts/sanitize.sh runtime

soak: ## Run the fuzz and race tests for long, TIDEGATE_SOAK_SECONDS=600 each, then sanitize
	@$(SETUP) curl haproxy named nginx node prometheus python3 schemathesis websockets wrk
	@TIDEGATE_SOAK_SECONDS=$(TIDEGATE_SOAK_SECONDS) $(STEP) soak cargo test --locked --workspace
	@TIDEGATE_SOAK_SECONDS=$(TIDEGATE_SOAK_SECONDS) $(STEP) sanitize scripts/sanitize.sh runtime
