# make demo    a simulated compound on this machine: devices, broker, gateway
# make test    every test; what fails beside others is tried once more alone
# make cover   the same once, with coverage: slower
# make check   formatting, lint, types, import rules
# make bench   measurements; they print, and fail when a promise is broken
# make soak    the long runs, boxes with a Debian of their own among them (as root)
# make deb     the Debian packages, amd64 and arm64, in dist/
# make repository  an apt repository of them, in dist/repository (REPOSITORY_KEY=FINGERPRINT)
# make lock    renew the lock files (needs uv)
# make vendor  fetch what the page uses and is not ours (needs npm)
# make clean   remove everything that was made

BIN = .venv/bin
# Most of a test is waiting, and timing is part of what is tested: three at a time on two cores.
JOBS = 3

.PHONY: demo test cover check bench soak deb repository lock vendor clean

demo:
	@.ci/setup run
	@$(BIN)/site-gateway demo

test:
	@.ci/setup dev
	@$(BIN)/pytest -n $(JOBS) || { \
		echo "make test: the tests that failed, once more and alone"; \
		$(BIN)/pytest --last-failed --last-failed-no-failures none; }

cover:
	@.ci/setup dev
	@$(BIN)/pytest -n $(JOBS) --cov --cov-report=term

check:
	@.ci/setup dev
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy && $(BIN)/mypy packaging/build.py
	@$(BIN)/lint-imports --no-logo

bench:
	@.ci/setup soak
	@$(BIN)/pytest -o addopts= -p no:xdist -s --timeout=0 tests/benchmarks

soak:
	@.ci/setup soak
	@$(BIN)/pytest -o addopts= -p no:xdist -s --timeout=0 -m soak

deb:
	@.ci/setup dev
	@$(BIN)/python packaging/build.py

repository:
	@.ci/setup dev
	@$(BIN)/python packaging/repository.py

LOCK = uv pip compile --quiet --universal --generate-hashes --no-strip-extras --no-annotate --python-version 3.11 \
	--custom-compile-command "make lock" pyproject.toml

lock:
	@$(LOCK) --upgrade --group build --output-file requirements.lock
	@$(LOCK) --upgrade --group dev --constraints requirements.lock --output-file requirements-dev.lock

vendor:
	@.ci/vendor

clean:
	rm -rf .venv .venv-* build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage .coverage.*
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
