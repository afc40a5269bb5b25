# Connect on one machine. Start with `make up` and `make test`; see README.md.
#
#   STAGE=2-proxy or 2         the stage for `up` and `diff`; by default the last one
#   ARGS="-k proxy"            arguments for pytest in `test`, for the command in other targets
#   CONNECT_PORT_BASE=31000    other ports than 30000 to 30003, and
#   CONNECT_STATE_DIR=/path    another folder than .local: for a second system on the same machine

# The distribution's Python, because its packages include venv.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
VENV_PYTHON := .venv/bin/python
LOCAL := $(VENV_PYTHON) -m local
IF_INSTALLED := [ -x $(VENV_PYTHON) ] || { echo 'Nothing is running: `make up` was never run here.'; exit 1; };

.PHONY: help up down status stage logs test test-fast compose-test lint requirements audit proto render diff openapi screenshots walk bench attack fuzz

# Targets that serve no requests get a dummy SECRET_KEY. `compose-test` generates keys for its containers.
lint render openapi compose-test: export SECRET_KEY := for-looking-at-the-code

help: ## show this help
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

up: ## install missing packages and start the whole system, or move it to STAGE
	@$(PYTHON) -m local.prepare local
	@$(LOCAL) up $(STAGE)

down: ## stop everything; the data stays
	@if [ -x $(VENV_PYTHON) ]; then $(LOCAL) down; else echo 'Nothing was running.'; fi

status: ## list the processes and whether each is ready
	@$(IF_INSTALLED) $(LOCAL) status

stage: ## print the name of the current stage
	@$(IF_INSTALLED) $(LOCAL) stage

logs: ## print the last lines of every log; follow them on a terminal
	@$(IF_INSTALLED) $(LOCAL) logs

test: ## run all tests, on their own database and ports
	@$(PYTHON) -m local.prepare dev
	@exec $(LOCAL) test $(ARGS)

test-fast: ## run the tests of the apps that start no process and no browser
	@$(PYTHON) -m local.prepare dev
	@exec $(LOCAL) test-fast $(ARGS)

compose-test: ## build the image, start compose.yaml and run the user journey; needs Docker
	@$(PYTHON) -m local.prepare dev
	@exec $(VENV_PYTHON) -m pytest tests/composed.py $(ARGS)

lint: ## check style, types, imports and missing migrations
	@$(PYTHON) -m local.prepare dev
	@$(LOCAL) lint

requirements: ## compile requirements*.in to requirements*.txt; ARGS=--upgrade also upgrades indirect packages
	@$(PYTHON) -m local.prepare dev
	@for name in requirements requirements-local requirements-dev; do CUSTOM_COMPILE_COMMAND="make requirements" \
	  .venv/bin/pip-compile --quiet $(ARGS) --output-file $$name.txt $$name.in || exit; done

audit: ## check requirements*.txt for known vulnerabilities
	@$(PYTHON) -m local.prepare dev
	@.venv/bin/pip-audit --strict --require-hashes --disable-pip --requirement requirements-dev.txt $(ARGS)

proto: ## generate the code of grpc_server/locations.proto
	@$(PYTHON) -m local.prepare dev
	@$(VENV_PYTHON) -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. grpc_server/locations.proto

render: ## render k8s/ into k8s/rendered, and update docs/migration.md
	@$(PYTHON) -m local.prepare dev
	@$(LOCAL) render

diff: ## show what STAGE changes in the rendered manifests
	@$(PYTHON) -m local.prepare local
	@$(LOCAL) diff $(STAGE)

openapi: ## write the API schema and the Postman collection: docs/openapi.yaml, docs/postman
	@$(PYTHON) -m local.prepare dev
	@$(VENV_PYTHON) manage.py spectacular --urlconf connect.api_urls --file docs/openapi.yaml --validate --fail-on-warn
	@$(VENV_PYTHON) -m local.postman

screenshots: ## take screenshots of every view of a running system with ACCESS=tokens: docs/screenshots
	@$(PYTHON) -m local.prepare dev
	@exec $(VENV_PYTHON) -m tests.screenshots

walk: ## move a separate system through all stages and back under load; update docs/migration.md
	@$(PYTHON) -m local.prepare dev
	@exec $(VENV_PYTHON) -m tests.walk

bench: ## measure questions, doors and ingest in half an hour; write docs/benchmarks.md. ARGS=50: a trial
	@$(PYTHON) -m local.prepare dev
	@exec $(LOCAL) bench $(ARGS)

attack: ## attack a separate system while clients use it; update docs/security.md. ARGS="--only NAME --seconds 60"
	@$(PYTHON) -m local.prepare dev
	@exec $(LOCAL) attack $(ARGS)

fuzz: ## send 20,000 REST and 5,000 gRPC invalid inputs. ARGS="--seed 7": others
	@$(PYTHON) -m local.prepare dev
	@exec $(LOCAL) fuzz $(ARGS)
