# Stemyard: every target says what it does; `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
CACHE := $(or $(STEMYARD_CACHE),$(or $(XDG_CACHE_HOME),$(HOME)/.cache)/stemyard)
UV := $(or $(shell command -v uv 2>/dev/null),$(CACHE)/uv/bin/uv)
RUN := $(UV) run --no-sync
# what makes a run slow is named at its end
PYTEST := $(RUN) pytest --durations 20 --durations-min 3
TWO := -n 2 --dist loadfile
# the environment is shared by all clones, and its stemyard is the clone's that made it
TORCH := PYTHONPATH=$(CURDIR)/contract:$(CURDIR)/separator-image $(CACHE)/venvs/cuda/bin/python
TORCH_TESTS := tests/separator/engines/test_demucs.py tests/separator/engines/test_golden.py tests/separator/worker/test_torch.py
# 9 GiB: wheels while they are unpacked, and the environment
TORCH_KIB := 9437184
CHROMIUM := $(or $(STEMYARD_CHROMIUM),$(shell command -v chromium || command -v google-chrome))
TESTS ?= tests
RELEASE ?= stemyard
NAMESPACE ?= $(RELEASE)
VERSION ?= 0.0.0-dev
DIGESTS ?=
YTDLP ?=
KUBERNETES ?= 1.34 1.35 1.37
# what depends most on the API server: the CRDs, policies, chart and Jobs
KUBERNETES_TESTS := $(addprefix tests/api_server/test_,admission_policies.py api.py chart.py chart_parts.py crd.py gitops.py \
  job_watch.py operator.py operator_definition.py operator_desk.py operator_namespaces.py operator_refusals.py)

.PHONY: help setup check check-format check-types check-imports check-files check-generated licences format generate recording transcript images test test-unit \
  test-api-server test-kubernetes test-browser test-clients test-generators chaos fuzz-api test-cluster test-kueue test-torch test-torch-installed docs bench mutate demo \
  run-operator run-api down package krew release-notes ytdlp test-ytdlp

help: ## list the targets
	@awk '/^[a-z-]+:.*## / { name = $$0; sub(/:.*/, "", name); sub(/^[^#]*## /, ""); printf "%-19s %s\n", name, $$0 }' $(MAKEFILE_LIST)

$(CACHE)/uv/bin/uv: images/uv.txt
	python3 -m venv $(CACHE)/uv 2>/dev/null || (apt-get update -qq && apt-get install -qq -y python3-venv && python3 -m venv $(CACHE)/uv)
	$(CACHE)/uv/bin/pip install --quiet --require-hashes --requirement images/uv.txt && touch $@

setup: $(UV) ## install the locked development environment into .venv (no torch)
	@$(UV) sync --locked --quiet --compile-bytecode --extra api --extra operator --extra tracing --extra separator --extra cli --extra mcp --extra kubectl

check: check-format check-types check-imports check-files check-generated licences ## format, lint, types, imports, generated files, licences

check-format: setup ## code is in the house format and free of what the linter finds
	$(RUN) ruff format --check --quiet && $(RUN) ruff check --quiet

check-types: setup ## strict types
	$(RUN) mypy

check-imports: setup ## modules import only what their layer may
	$(RUN) lint-imports --no-cache

check-files: setup ## Dockerfiles and shell scripts
	$(RUN) hadolint images/Dockerfile images/ytdlp.Dockerfile && $(RUN) shellcheck .ci/run krew/kubectl-stemyard

check-generated: setup ## generated files are current; `make generate` rewrites them
	$(RUN) python -m charts.generate --check

licences: setup ## packages and native libraries of the images and the command line have known, accepted licences
	@$(UV) export --locked --quiet --no-dev --no-hashes --no-emit-project --extra api --extra operator --extra tracing --extra separator \
	  --extra cli --extra mcp --extra kubectl \
	| $(RUN) python images/notices.py --check .venv

# formatted first, because the formatter ends what the linter only finds (long lines), and again after the linter's changes
format: setup ## rewrite the code in the house format
	$(RUN) ruff format --quiet && $(RUN) ruff check --fix --quiet && $(RUN) ruff format --quiet

generate: setup ## rewrite the files that are made from the types
	$(RUN) python -m charts.generate

recording: setup ## record `stemyard run` in a terminal, for the README
	$(RUN) python -m demo.recording

transcript: setup ## follow the quick start of one machine with empty caches, and keep what it printed in the docs
	PATH="$(dir $(UV)):$$PATH" $(RUN) python -m demo.transcript

images: setup ## build the images and, where a cluster runs, load them into it
	$(RUN) python -m demo images

package: setup ## pack the chart into dist/ (VERSION=1.2.3 DIGESTS="api=sha256:...")
	@$(RUN) python -m charts.package --version $(VERSION) $(foreach digest,$(DIGESTS),--digest $(digest))

krew: setup ## pack the kubectl plugin for Krew into dist/ and fill its manifest (VERSION=1.2.3, which must be the wheel's)
	@UV=$(UV) $(RUN) python -m krew.package $(if $(filter-out 0.0.0-dev,$(VERSION)),--version $(VERSION))

release-notes: setup ## print what the changelog says on VERSION
	@$(RUN) python -m charts.release_notes $(VERSION)

ytdlp: setup ## fill build/ytdlp with yt-dlp for sources.youtube.overlay, and print its version (YTDLP=2026.10.26)
	@UV=$(UV) $(RUN) python -m images.ytdlp_overlay build/ytdlp --version "$(YTDLP)"

test-ytdlp: setup ## tests of search and download with the yt-dlp of build/ytdlp
	PYTHONPATH=$(CURDIR)/build/ytdlp STEMYARD_TESTED_OVERLAY=$(CURDIR)/build/ytdlp $(PYTEST) $(TWO) tests/separator/youtube tests/separator/stages/test_youtube_sources.py

test: check test-unit test-torch test-api-server test-browser test-clients test-cluster ## run everything, cheapest first

test-unit: setup ## tests that need neither cluster nor network
	$(PYTEST) $(TWO) -m 'not api_server and not browser and not generators and not cluster' $(TESTS)

test-api-server: setup ## tests against a real API server, started by the tests in seconds
	$(RUN) python -m localcluster prepare --control-plane
	$(PYTEST) $(TWO) -m api_server $(TESTS)

test-kubernetes: setup ## tests against API servers of other versions of Kubernetes, each compiled in minutes (KUBERNETES="1.34 1.37")
	for version in $(KUBERNETES); do \
	  export STEMYARD_KUBERNETES=$$version && $(RUN) python -m localcluster prepare --control-plane \
	  && $(PYTEST) $(TWO) -m api_server $(KUBERNETES_TESTS) || exit; \
	done

chaos: setup ## kill the operator at every call it awaits, and over 1,000 separations with webhooks; an hour
	$(RUN) python -m localcluster prepare --control-plane
	STEMYARD_CHAOS=1 $(PYTEST) --timeout 7200 -m api_server tests/api_server/test_operator_crashes.py tests/api_server/test_worker_crashes.py
	STEMYARD_PROOF_SEPARATIONS=1000 $(PYTEST) -s --timeout 7200 -m api_server tests/api_server/test_webhook_proof.py

fuzz-api: setup ## ask the live API for ten minutes whatever its OpenAPI document allows and forbids
	$(RUN) python -m localcluster prepare --control-plane
	FUZZ_SEED=$(or $(FUZZ_SEED),$$RANDOM) FUZZ_SECONDS=$(or $(FUZZ_SECONDS),600) $(PYTEST) -s tests/api_server/test_fuzz.py

test-browser: setup ## tests of the web page in Chromium, before the whole system but a kubelet
	$(RUN) python -m localcluster prepare --control-plane
	$(if $(CHROMIUM),,apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium || { echo "Chromium is missing: install it, or name one in STEMYARD_CHROMIUM"; exit 1; })
	$(PYTEST) $(TWO) -m browser $(TESTS)

test-clients: setup ## generate clients from the OpenAPI document, compile them, use them against a real API server (not Rust)
	$(RUN) python -m localcluster prepare --control-plane
	$(PYTEST) -m generators $(TESTS)

test-generators: export STEMYARD_GENERATORS := all
test-generators: test-clients ## the same for every generator, with Rust, whose first build takes minutes

test-cluster: setup ## tests of the whole system on a real cluster
	$(RUN) python -m localcluster prepare
	$(PYTEST) -m cluster $(TESTS)

test-kueue: setup ## tests with the real Kueue, which comes from its repository into the cluster (Docker and GitHub needed)
	$(RUN) python -m localcluster up
	export KUBECONFIG=$$($(RUN) python -m localcluster kubeconfig) && kubectl=$$($(RUN) python -m localcluster tool kubectl) \
	&& $$kubectl apply --server-side --kustomize tests/cluster/kueue \
	&& $$kubectl --namespace kueue-system rollout status deployment/kueue-controller-manager --timeout=300s
	$(PYTEST) -m cluster tests/cluster/test_kueue.py

$(CACHE)/venvs/cuda.stamp: uv.lock | $(UV)
	UV_PROJECT_ENVIRONMENT=$(CACHE)/venvs/cuda $(UV) sync --locked --quiet --compile-bytecode --extra separator --extra cuda --group dev
	touch $@

test-torch: setup ## tests of the demucs engine and its workers, in an environment of its own (7 GB) outside the tree
	@if [ ! -e $(CACHE)/venvs/cuda.stamp ] && [ $$(df -Pk $(CACHE) | awk 'NR == 2 { print $$4 }') -lt $(TORCH_KIB) ]; then \
	  echo "The demucs engine is NOT tested: torch needs 9 GiB free in $(CACHE). Free some, or name another folder in STEMYARD_CACHE."; \
	else $(MAKE) --no-print-directory test-torch-installed; fi

test-torch-installed: $(CACHE)/venvs/cuda.stamp
	$(TORCH) -m stemyard_separator --self-test
	$(TORCH) -m pytest $(TORCH_TESTS) -k 'demucs or torch'

docs: setup ## build the site of the documentation into build/docs; warnings are errors
	@NO_MKDOCS_2_WARNING=1 $(RUN) python -m mkdocs build --strict

bench: setup $(CACHE)/venvs/cuda.stamp ## measure every figure that is claimed, one line each: name value unit target ok|short
	$(RUN) python -m bench.api
	$(RUN) python -m localcluster prepare --control-plane
	$(RUN) python -m bench.operator
	$(RUN) python -m bench.webhooks
	$(RUN) python -m bench.images
	$(RUN) python -m bench.latency
	$(RUN) python -m bench.media
	$(RUN) python -m bench.quality
	$(RUN) python -m bench.cost
	$(RUN) python -m bench.separation --only spleeter
	$(RUN) python -m bench.workers
	$(TORCH) -m bench.separation --only demucs
	STEMYARD_FUZZ_SECONDS=600 $(PYTEST) tests/separator/audio/test_decode_fuzz.py

mutate: setup ## change the pure cores in small ways, and count the changes that their tests notice (MUTATE="identity --sample 0")
	$(RUN) python -m bench.mutation $(MUTATE)

demo: setup ## the whole system on a real cluster, then one separation (QUERY="artist title" where YouTube can be reached)
	@$(RUN) python -m demo up

run-operator: setup ## run the operator on this machine against the cluster of the current kubeconfig (RELEASE=stemyard NAMESPACE=stemyard)
	@$(RUN) python -m demo.on_host operator --release $(RELEASE) --namespace $(NAMESPACE)

run-api: setup ## run the API on this machine against the cluster of the current kubeconfig (RELEASE=stemyard NAMESPACE=stemyard)
	@$(RUN) python -m demo.on_host api --release $(RELEASE) --namespace $(NAMESPACE)

down: setup ## stop the demo and its cluster; only caches stay
	@$(RUN) python -m localcluster down && rm -f .demo.env
