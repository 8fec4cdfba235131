# Short names for what one does here. Everything works on a fresh machine with python3 >= 3.11 and make.
SHELL := /bin/bash
PY := .venv/bin/python

.PHONY: run test lint cluster lock clean bench debian

run: .venv/.server  ## one process, embedded Valkey, demo page on http://127.0.0.1:8000
	$(PY) server.py $(ARGS)

test: .venv/.dev debian  ## everything
	$(PY) -m pytest $(ARGS)

lint: .venv/.dev
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	$(PY) -m mypy

RANGES = $(PY) -c "import configparser,sys; c=configparser.ConfigParser(); c.read('setup.cfg'); \
	print(c['options']['install_requires'] + '\n' + (c['options.extras_require'][sys.argv[1]] if sys.argv[1:] else ''))"
COMPILE = .venv/bin/uv pip compile - --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade -q

lock: .venv/.dev  ## pin what setup.cfg ranges over, with hashes
	$(PY) -m pip install -q uv
	$(RANGES) | $(COMPILE) -o requirements.txt
	$(RANGES) dev | $(COMPILE) -o requirements-dev.txt

.venv/.server: requirements.txt
	test -x $(PY) || python3 -m venv .venv
	$(PY) -m pip install -q --disable-pip-version-check --require-hashes -r requirements.txt
	touch $@

.venv/.dev: requirements-dev.txt
	test -x $(PY) || python3 -m venv .venv
	$(PY) -m pip install -q --disable-pip-version-check --require-hashes -r requirements-dev.txt
	touch $@ .venv/.server

debian:  ## what the tests need from Debian: installed where missing and we are root
	@bash tests/support/debian.sh

clean:
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache
