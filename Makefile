# Targets that people and CI use. `make` alone lists them.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help

VERSION := $(shell git describe --tags --always --dirty 2>/dev/null || echo dev)
LDFLAGS := -s -w -X trueup.dev/trueup/internal/cli.Version=$(VERSION)
PREFIX  ?= /usr/local
GO      ?= go
STATICCHECK := $(GO) tool -modfile=tools/go.mod staticcheck
# Tests that start real servers are slow on small machines; the limit only
# keeps a hanging test from hanging for ever.
TEST_TIMEOUT ?= 40m
FUZZTIME     ?= 10s

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## build bin/trueup
	@mkdir -p bin
	$(GO) build -ldflags '$(LDFLAGS)' -o bin/trueup ./cmd/trueup

.PHONY: install
install: build ## install bin/trueup below PREFIX (/usr/local)
	install -D -m 0755 bin/trueup '$(DESTDIR)$(PREFIX)/bin/trueup'

.PHONY: deps
deps: ## install the servers and tools that the tests start (Debian)
	@scripts/deps.sh test

.PHONY: forge-servers
forge-servers: deps ## Gitea and GitHub's API description, for the tests (minutes, the first time)
	@GO='$(GO)' scripts/gitea.sh >/dev/null
	@scripts/github-api.sh >/dev/null

.PHONY: infra-programs
infra-programs: deps ## OpenTofu, Terraform, a test provider, Vault and Kubernetes, for the tests (minutes, the first time)
	@GO='$(GO)' scripts/server.sh kubetest >/dev/null
	@GO='$(GO)' scripts/gitops-crds.sh >/dev/null
	@GO='$(GO)' scripts/server.sh helm >/dev/null
	@GO='$(GO)' scripts/server.sh vault >/dev/null
	@GO='$(GO)' scripts/server.sh tofu >/dev/null
	@command -v terraform >/dev/null || GO='$(GO)' scripts/server.sh terraform >/dev/null
	@GO='$(GO)' scripts/server.sh terraform-provider-things >/dev/null

.PHONY: demo
demo: build ## a commit changes a real DNS server, from nothing, in a minute
	@scripts/deps.sh demo || echo 'demo: going on without a DNS server of its own; see above'
	@demo/run.sh

.PHONY: check
check: lint ## format, vet, staticcheck, house rules, quick tests (no servers)
	$(GO) test ./...

.PHONY: lint
lint: ## gofmt, go vet, staticcheck
	@out=$$(gofmt -l cmd internal $(wildcard bench demo)); if [ -n "$$out" ]; then echo "not gofmt-ed:"; echo "$$out"; exit 1; fi
	$(GO) vet -tags real ./...
	$(STATICCHECK) -tags real ./...

.PHONY: test
test: deps forge-servers infra-programs lint ## everything, real servers included; what CI runs
	$(GO) test -count=1 -tags real -timeout $(TEST_TIMEOUT) ./...

.PHONY: test-core
test-core: deps infra-programs ## engine, store, queue, Git, configuration, command line
	$(GO) test -count=1 -tags real -timeout $(TEST_TIMEOUT) $$($(GO) list ./... | grep -Ev '/internal/(drivers|e2e|hosttest|agent|source/forge|client/ssh|client/kube|client/registry|handover|kubernetestest|servertest/(sshhosts|gitea|dnsserver|kubetest|helm|manifests|gitops))(/|$$)')

.PHONY: test-dns
test-dns: deps ## the dns driver against BIND, Knot and PowerDNS
	$(GO) test -count=1 -tags real -timeout $(TEST_TIMEOUT) ./internal/drivers/dns/... ./internal/servertest/...

.PHONY: test-files
test-files: deps ## the files driver
	$(GO) test -count=1 -tags real -timeout $(TEST_TIMEOUT) ./internal/drivers/files/...

.PHONY: test-forges
test-forges: forge-servers ## the forges, against a real Gitea and GitHub's own API description
	$(GO) test -count=1 -tags real -timeout $(TEST_TIMEOUT) ./internal/source/forge/... ./internal/servertest/gitea/... ./internal/e2e/...

.PHONY: test-hosts
test-hosts: deps ## the ssh and sftp drivers and agents, against real OpenSSH hosts, one of them with systemd
	$(GO) test -count=1 -tags real -timeout $(TEST_TIMEOUT) ./internal/drivers/ssh/... ./internal/drivers/sftp/... ./internal/agent/... ./internal/client/ssh/... ./internal/servertest/sshhosts/... ./internal/hosttest/...

.PHONY: test-kubernetes
test-kubernetes: infra-programs ## the kubernetes driver against a real control plane; registries; moving over from Flux and Argo CD
	$(GO) test -count=1 -tags real -timeout $(TEST_TIMEOUT) ./internal/drivers/kubernetes/... ./internal/client/kube/... ./internal/client/registry/... ./internal/handover/... ./internal/kubernetestest/... ./internal/servertest/kubetest/... ./internal/servertest/helm/... ./internal/servertest/manifests/... ./internal/servertest/gitops/...

.PHONY: test-infra
test-infra: infra-programs forge-servers ## tofu with OpenTofu and Terraform; exec with Ansible; http with Gitea and PowerDNS; outputs
	$(GO) test -count=1 -tags real -timeout $(TEST_TIMEOUT) ./internal/drivers/tofu/... ./internal/servertest/tofu/... ./internal/drivers/exec/... ./internal/drivers/rest/...
	$(GO) test -count=1 -tags real -timeout $(TEST_TIMEOUT) -run Outputs ./internal/engine/ ./internal/hosttest/
	$(GO) test -count=1 -tags real -timeout $(TEST_TIMEOUT) -run 'Infrastructure|SecretsOf' ./internal/killtest/

.PHONY: bench
bench: bench-core bench-queue bench-dns bench-hosts bench-infra bench-kubernetes ## all benchmarks, into docs/benchmarks.md

.PHONY: bench-core bench-queue bench-dns bench-hosts bench-infra bench-kubernetes
bench-core: deps ## 100 to 10,000 targets: push, idle poll, memory, start
	scripts/bench-report.sh core $(GO) run ./bench/core
bench-queue: deps ## the queue alone, on SQLite and PostgreSQL
	scripts/bench-report.sh queue $(GO) run ./bench/queue
bench-dns: deps ## plan and apply beside dig and nsupdate
	scripts/bench-report.sh dns $(GO) run ./bench/dns
bench-infra: infra-programs ## the tofu driver beside the bare program
	scripts/bench-report.sh infra $(GO) run ./bench/infra
bench-kubernetes: infra-programs ## the kubernetes driver beside a bare client-go loop and kubectl
	scripts/bench-report.sh kubernetes $(GO) run ./bench/kubernetes
bench-hosts: ## the ssh driver beside rsync and Ansible, on up to 50 hosts
	@scripts/deps.sh bench
	scripts/bench-report.sh hosts $(GO) run ./bench/hosts

.PHONY: fuzz
fuzz: ## every fuzz test for FUZZTIME (10s)
	@GO='$(GO)' scripts/fuzz.sh '$(FUZZTIME)'

.PHONY: generate
generate: ## generated documentation and schemas
	$(GO) generate ./...

.PHONY: clean
clean: ## remove what the build made
	rm -rf bin dist
