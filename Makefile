# Connect on one machine. `make up` and `make test` are all one needs; README.md tells the rest.
#
#   STAGE=2-proxy or 2         the stage for `up` and `diff`; the last one if left out
#   ARGS="-k proxy"            what `test` passes on to pytest, others to what they run
#   CONNECT_PORT_BASE=31000    other ports than 30000 to 30003,
#   CONNECT_STATE_DIR=/path    and another folder than .local: a second system beside the first

# The distribution's own Python: its packages bring what makes a virtual environment.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3) python3)
VENV_PYTHON := .venv/bin/python
LOCAL := $(VENV_PYTHON) -m local
IF_INSTALLED := [ -x $(VENV_PYTHON) ] || { echo 'Nothing is running: `make up` was never run here.'; exit 1; };

.PHONY: help up down status stage logs test compose-test lint requirements audit proto render diff openapi screenshots walk bench attack fuzz

# Targets that serve nothing get a dummy SECRET_KEY. `compose-test` gives its containers keys of their own.
lint render openapi compose-test: export SECRET_KEY := for-looking-at-the-code

help: ## show this
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 20

up: ## install what is missing and bring the whole system up, or to STAGE
	@$(PYTHON) -m local.prepare local
	@$(LOCAL) up $(STAGE)

down: ## stop everything; the data stays
	@$(IF_INSTALLED) $(LOCAL) down

status: ## what runs, and whether it is ready
	@$(IF_INSTALLED) $(LOCAL) status

stage: ## the name of the stage that runs
	@$(IF_INSTALLED) $(LOCAL) stage

logs: ## the last lines of every log; follows them on a terminal
	@$(IF_INSTALLED) $(LOCAL) logs

test: ## every test, on a database and ports of their own
	@$(PYTHON) -m local.prepare dev
	@exec $(LOCAL) test $(ARGS)

compose-test: ## build the image, bring compose.yaml up and prove it by the journey; needs Docker
	@$(PYTHON) -m local.prepare dev
	@exec $(VENV_PYTHON) -m pytest tests/composed.py $(ARGS)

lint: ## style, types, imports, missing migrations
	@$(PYTHON) -m local.prepare dev
	@$(LOCAL) lint

requirements: ## compile requirements*.in into requirements*.txt anew; ARGS=--upgrade for newer ones of what they need
	@$(PYTHON) -m local.prepare dev
	@for name in requirements requirements-local requirements-dev; do CUSTOM_COMPILE_COMMAND="make requirements" \
	  .venv/bin/pip-compile --quiet $(ARGS) --output-file $$name.txt $$name.in || exit; done

audit: ## whether a known weakness is in what requirements*.txt bring
	@$(PYTHON) -m local.prepare dev
	@.venv/bin/pip-audit --strict --require-hashes --disable-pip --requirement requirements-dev.txt $(ARGS)

proto: ## generate the code of grpc_server/locations.proto anew
	@$(PYTHON) -m local.prepare dev
	@$(VENV_PYTHON) -m grpc_tools.protoc -I. --python_out=. --pyi_out=. --grpc_python_out=. grpc_server/locations.proto

render: ## write k8s/rendered anew from k8s/, and what docs/migration.md shows of it
	@$(PYTHON) -m local.prepare dev
	@$(LOCAL) render

diff: ## what STAGE changes in the cluster, as rendered
	@$(PYTHON) -m local.prepare local
	@$(LOCAL) diff $(STAGE)

openapi: ## write the schema of the API and its Postman collection anew: docs/openapi.yaml, docs/postman
	@$(PYTHON) -m local.prepare dev
	@$(VENV_PYTHON) manage.py spectacular --urlconf connect.api_urls --file docs/openapi.yaml --validate --fail-on-warn
	@$(VENV_PYTHON) -m local.postman

screenshots: ## take pictures of every view of the system that runs, with ACCESS=tokens, into docs/screenshots
	@$(PYTHON) -m local.prepare dev
	@exec $(VENV_PYTHON) -m tests.screenshots

walk: ## from stage to stage and back under load, on a system of its own; writes its table into docs/migration.md
	@$(PYTHON) -m local.prepare dev
	@exec $(VENV_PYTHON) -m tests.walk

bench: ## measure the question, the doors and ingest in half an hour; writes docs/benchmarks.md. ARGS=50: a trial
	@$(PYTHON) -m local.prepare dev
	@exec $(LOCAL) bench $(ARGS)

attack: ## attack a system of its own while clients use it; writes docs/security.md. ARGS="--only NAME --seconds 60"
	@$(PYTHON) -m local.prepare dev
	@exec $(LOCAL) attack $(ARGS)

fuzz: ## 20,000 REST and 5,000 gRPC inputs that no client should send. ARGS="--seed 7": others
	@$(PYTHON) -m local.prepare dev
	@exec $(LOCAL) fuzz $(ARGS)
