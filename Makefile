# Two commands do everything: `make run` and `make test`. `make help` lists the rest.
PYTHON ?= $(shell command -v python3.11 || echo python3)
PORT ?= $(or $(XPRO_PORT),8000)
DATA ?= ../shared/xrays
UV_COMPILE = .tools/bin/uv pip compile --quiet --python-version 3.11 --generate-hashes \
	--no-header --no-emit-index-url
IN_SERVICE = .venv-run/bin/python
IN_DEV = .venv/bin/python

.PHONY: help run test test-importers chromium programs check format openapi train image image-test \
	requests bench bench-page bench-resize bench-png bench-peers bench-recipes bench-choices fuzz soak sbom audit lock clean

help:  ## what each target does
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## */\t/' | expand -t 16

run: .venv-run/ready  ## set up and serve the bundled model on http://127.0.0.1:8000 (PORT=9000)
	XPRO_PORT=$(PORT) exec $(IN_SERVICE) -m service

test: .venv/ready chromium programs  ## set up and run the tests
	$(IN_DEV) -m pytest $(ARGS)

test-importers: .venv-import/ready  ## test imported weights against the originals' libraries (some 3 GB)
	.venv-import/bin/python -m pytest --confcutdir=tests/importers tests/importers $(ARGS)

chromium:  ## install Debian's Chromium, which tests/page drives, where it is missing
	@command -v chromium >/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends \
	  chromium fonts-dejavu-core; } || \
	  echo "Chromium is missing, so tests/page will not run; on Debian: apt-get install chromium"

programs:  ## unpack Debian's Caddy and Prometheus into .tools, which tests/service runs, where missing
	@{ command -v caddy && command -v prometheus && command -v promtool; } >/dev/null || \
	  [ -x .tools/debian/usr/bin/promtool ] || { \
	    { [ "$$(id -u)" != 0 ] || apt-get update -qq; } && mkdir -p .tools/debian && \
	    cd .tools/debian && apt-get download -qq -o APT::Sandbox::User=root caddy prometheus && \
	    for package in *.deb; do dpkg-deb -x "$$package" . && rm "$$package" || exit 1; done; } || \
	  echo "Caddy and Prometheus are missing, so some tests of operation will not run"

check: .venv/ready  ## format, lint, types, drift of openapi.json
	$(IN_DEV) -m ruff format --check .
	$(IN_DEV) -m ruff check .
	$(IN_DEV) -m mypy
	$(IN_DEV) -m service.openapi --check

format: .venv/ready  ## format the code and mend what the linter can mend
	$(IN_DEV) -m ruff format .
	$(IN_DEV) -m ruff check --fix .

openapi: .venv/ready  ## write openapi/openapi.json anew
	$(IN_DEV) -m service.openapi

train: .venv/ready  ## train the small profile (DATA=folder) and export a bundle to models/trained
	$(IN_DEV) -m training train --data $(DATA) --profile demo --out models/trained $(ARGS)

image:  ## build the Docker image of the service
	docker compose build

image-test: programs  ## build the image, start it with compose and look at it from inside
	$(PYTHON) tests/image/run.py

requests: .venv/ready  ## post every file of ../shared/requests, one by one and 16 at a time
	$(IN_DEV) -m pytest -s tests/end_to_end

bench: .venv/ready  ## CPU time, memory and start of both engines with a DenseNet121
	$(IN_DEV) -m benchmarks.engines

bench-page: .venv/ready  ## time from a drop to the first bars, at a service that `make run` serves
	$(IN_DEV) -m benchmarks.page http://127.0.0.1:$(PORT)/

bench-resize: .venv/ready  ## the resize to the network's input beside Pillow's
	$(IN_DEV) -m benchmarks.resize

bench-png: .venv/ready  ## reading of PNG beside libpng
	$(IN_DEV) -m benchmarks.png

bench-peers: .venv/ready .venv-peers/ready  ## the same network behind FastAPI, BentoML, LitServe, Ray Serve (20 minutes)
	@$(IN_DEV) -m benchmarks.peers $(ARGS)

bench-recipes: .venv/ready  ## our recipe against the one before it (DATA=folder MINUTES=45 SEEDS="1 2")
	$(IN_DEV) -m benchmarks.recipes --data $(DATA) --minutes $(or $(MINUTES),45) \
	  --seeds $(or $(SEEDS),1 2) $(ARGS)

bench-choices: .venv/ready  ## what single choices of our recipe are worth, three seeds (DATA=folder)
	$(IN_DEV) -m benchmarks.recipes.choices --data $(DATA) $(ARGS)

fuzz: .venv/ready  ## send 25,000 damaged files and some thousand odd requests to a running service
	$(IN_DEV) -m pytest -s tests/fuzz --all-cases -o faulthandler_timeout=7200 $(ARGS)

sbom: .venv/ready  ## write build/sbom.json, the bill of materials of the service (CycloneDX)
	mkdir -p build
	$(IN_DEV) -m cyclonedx_py requirements requirements/service.txt --pyproject pyproject.toml \
	  --mc-type application --output-reproducible --output-file build/sbom.json

audit: .venv/ready  ## look up known vulnerabilities of everything that is locked (needs the network)
	$(IN_DEV) -m supply.audit requirements/*.txt $(if $(AUDIT),-- $(AUDIT))

soak: .venv/ready  ## minutes of overload, crowds, faults and new versions (PARTS="overload memory")
	$(IN_DEV) -m benchmarks.soak $(PARTS)

lock: .tools/ready  ## renew requirements/*.txt from requirements/*.in
	$(UV_COMPILE) requirements/dev.in -o requirements/dev.txt
	for set in service tensorflow training importers; do \
	  $(UV_COMPILE) -c requirements/dev.txt requirements/$$set.in -o requirements/$$set.txt || exit 1; \
	done
	$(UV_COMPILE) -c requirements/tensorflow.txt requirements/peers.in -o requirements/peers.txt

clean:  ## remove what make has set up
	rm -rf .venv .venv-run .venv-import .venv-peers .tools

.venv-run/ready: requirements/service.txt
	$(call install,.venv-run,--require-hashes -r $<)

.venv/ready: requirements/dev.txt
	$(call install,.venv,--require-hashes -r $<)

.venv-import/ready: requirements/importers.txt
	$(call install,.venv-import,--require-hashes -r $<)

.venv-peers/ready: requirements/peers.txt
	$(call install,.venv-peers,--require-hashes -r $<)

.tools/ready:
	$(call install,.tools,uv)

define install
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { [ "$$(id -u)" = 0 ] && apt-get update -qq && \
	  DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends python3-venv; } || \
	  { echo "$(PYTHON) with venv is needed; on Debian: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(1)
	$(1)/bin/python -m pip install --quiet --disable-pip-version-check $(2)
	@touch $@
endef
