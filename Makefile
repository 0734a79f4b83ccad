# Picket: `make run` builds and starts everything, `make test` tests it. `make help` lists the rest.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help

# One build cache for programs and tests. The tags leave out what nothing here uses: bindings of gin, the trace page of gRPC, whose
# templates keep the linker from dropping code.
export GOFLAGS := -trimpath -buildvcs=false -tags=nomsgpack,grpcnotrace
BIN     := bin
VERSION := $(shell cat VERSION)
CONFIG  := github.com/picketwatch/picket/core/kernel/config
RELEASE ?= false
ROOT_SHA256 ?=
LDFLAGS := -s -w -X $(CONFIG).Version=$(VERSION) -X $(CONFIG).Release=$(RELEASE) -X $(CONFIG).RootSHA256=$(ROOT_SHA256)
# The helpers are static; only picketd needs a C compiler, for DuckDB and SQLite.
HELPERS := picket-agent picket picket-wasm picket-traffic picket-launch
# The agent that machines are given, and update themselves to, is a release too: for this platform, or all that are named.
AGENT   := picket-agent picket-launch picket-traffic picket-wasm
AGENT_PLATFORMS ?= $(shell go env GOOS)/$(shell go env GOARCH)
PLUGINS := $(sort $(patsubst %/,%,$(dir $(wildcard plugins/*/*/plugin.yaml plugins/*/*/model/plugin.yaml))))
GOSRC   := go build -ldflags "$(LDFLAGS)"
TOOLS   := $(CURDIR)/bin/tools
STEP    = @printf '\033[1m==>\033[0m %s\n'

.PHONY: help build run test check bench gen e2e dist clean web binaries agents sdkbundle registry cards tools doctor fuzz soak load huge live pgo snmp-devices lab-devices

help: ## list the targets
	@awk -F':.*## ' '/^[a-z0-9_-]+:.*## /{printf "  %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

build: doctor web binaries agents registry ## programs, page and the signed first-party registry, into bin/

run: build ## build, start on embedded defaults and print a sign-in link
	@exec $(BIN)/picketd --dev --data $${PICKET_DATA:-.picket} $(ARGS)

doctor:
	@internal/doctor.sh

web: bin/.web
bin/.web: web/node_modules $(shell find web/src web/public web/scripts web/index.html web/openapi.json web/package.json web/tsconfig.json web/vite.config.ts -type f 2>/dev/null)
	$(STEP) "page"
	@mkdir -p $(BIN)
	@cd web && npm run --silent build
	@touch $@

web/node_modules: web/package-lock.json
	$(STEP) "npm packages"
	@cd web && npm ci --no-audit --no-fund --loglevel=error
	@touch $@

sdkbundle: ## the SDK for Go, Python and Rust, packed for picket to carry
	@go run ./internal/gen/sdkbundle --version $(VERSION) --release=$(RELEASE)

binaries: bin/.web sdkbundle
	$(STEP) "programs"
	@mkdir -p $(BIN)
	@CGO_ENABLED=0 $(GOSRC) -o $(BIN)/ $(addprefix ./cmd/,$(HELPERS))
	@printf '    %s\n' $(HELPERS)
	@CGO_ENABLED=1 $(GOSRC) -o $(BIN)/ ./cmd/picketd
# What a linker has written lies in the page cache in large pieces, of which each touch maps all: 18 MB more than of a copy, as an
# installed program is one.
	@cp $(BIN)/picketd $(BIN)/picketd.copy && mv -f $(BIN)/picketd.copy $(BIN)/picketd
	@printf '    picketd\n'
	@mkdir -p $(BIN)/sample $(BIN)/datasets && cp examples/datasets/first-light/first-light.pcap $(BIN)/sample/ && cp -r examples/datasets/lab-1 $(BIN)/datasets/

agents: binaries
	$(STEP) "the agent for $(AGENT_PLATFORMS)"
	@rm -rf $(BIN)/agent && mkdir -p $(BIN)/agent
	@sed 's/^version: .*/version: $(VERSION)/' cmd/picket-agent/plugin.yaml >$(BIN)/agent/plugin.yaml
	@for p in $(AGENT_PLATFORMS); do \
	  dir=$(BIN)/agent/$${p%/*}-$${p#*/}; mkdir -p $$dir; \
	  if [ $$p = $$(go env GOOS)/$$(go env GOARCH) ]; then cp -p $(addprefix $(BIN)/,$(AGENT)) $$dir/; continue; fi; \
	  CGO_ENABLED=0 GOOS=$${p%/*} GOARCH=$${p#*/} $(GOSRC) -o $$dir/ $(addprefix ./cmd/,$(AGENT)); \
	done

registry: agents
	$(STEP) "first-party plugins, signed into $(BIN)/registry"
	@[ -e $(BIN)/registry/metadata/root.json ] || $(BIN)/picket registry init --dir $(BIN)/registry --keys $(BIN)/registry-keys --development
	@$(BIN)/picket plugin publish --registry $(BIN)/registry --keys $(BIN)/registry-keys --evidence $(BIN)/evidence \
	  $(if $(PICKET_VULNERABILITIES),--vulnerabilities $(PICKET_VULNERABILITIES)) $(PLUGINS) $(BIN)/agent

cards: registry ## fill the cards of the first-party plugins as a release does (minutes)
	@internal/cards.sh $(BIN)/registry $(BIN)/registry-keys

test: build ## every Go and page test, against what `build` made
	$(STEP) "Go"
	@PICKET_BIN=$(CURDIR)/$(BIN)/picket go test -p 2 -timeout 25m work
	$(STEP) "page"
	@cd web && npm test --silent

check: tools web/node_modules ## vet, lint, rules of the house, generated files fresh, modules tidy
	$(STEP) "format and vet"
	@test -z "$$(gofmt -l $$(git ls-files '*.go') | tee /dev/stderr)"
	@go vet work
	$(STEP) "lint"
	@$(TOOLS)/golangci-lint run ./... && cd sdk && $(TOOLS)/golangci-lint run ./...
	$(STEP) "contract"
	@cd proto && $(TOOLS)/buf lint
	$(STEP) "modules"
	@GOWORK=off go mod tidy -diff && cd sdk && GOWORK=off go mod tidy -diff
	$(STEP) "generated files"
	@$(MAKE) gen && git diff --exit-code --stat -- sdk web/openapi.json web/src/api docs plugins
	$(STEP) "page"
	@cd web && npm run --silent check

gen: tools web/node_modules ## regenerate what is generated and checked in
	@cd proto && PATH=$(TOOLS):$$PATH buf generate
	@go run ./internal/gen/records
	@go run ./internal/gen/pyproto
	@go run ./internal/gen/openapi
	@go run ./internal/gen/settings
	@PICKET_UPDATE=1 go test -count=1 -run Fresh ./plugins/detectors/custom >/dev/null
	@cd web && npm run --silent gen

e2e: build ## whole-system tests: real programs, real plugins, Chromium
	$(STEP) "whole system, beside it the pages in Chromium"
	@cd web && npm run --silent e2e >../bin/e2e-pages.log 2>&1 & pages=$$!; \
	  PICKET_E2E=1 go test -count=1 -timeout 30m ./internal/e2e && programs=0 || programs=$$?; \
	  wait $$pages && pages=0 || pages=$$?; cat bin/e2e-pages.log; exit $$((programs | pages))

bench: build ## ratios in one run; the machine is named in the output
	@internal/bench.sh

huge: build ## one capture of gigabytes (CAPTURE=FILE) through a server: flat memory, stopped and resumed
	@PICKET_E2E=1 PICKET_HUGE=$(abspath $(CAPTURE)) go test ./internal/e2e -run TestHugeCapture -timeout 60m -v

live: build ## attacks with real tools before an agent, RUNS of each (default 20)
	@go run ./internal/drill -runs $${RUNS:-20} -json live.json

lab-devices: ## namespaces with avahi, samba and minidlna, each of which discovery makes one device (root)
	@PICKET_LAB=1 go test -count=1 -v -run TestBoxesAreDevices ./plugins/internal/processtest

load: build ## ten thousand agents before a server: figures, and each acknowledged sample counted (ARGS=-h lists choices, -soak 60m is one)
	@go run ./internal/load $(ARGS)

pgo: ## take the profile anew that the compiler optimises the worker by, from a large CAPTURE=FILE of much that is different
	@go test -c -o /tmp/picket-worker.test ./internal/traffic/worker # the profile names the file
	@cd internal/traffic/worker && PICKET_BENCH_PCAP=$(abspath $(CAPTURE)) /tmp/picket-worker.test -test.run '^$$' -test.bench Run -test.benchtime 4x \
	  -test.cpuprofile $(CURDIR)/cmd/picket-traffic/default.pgo
	@rm /tmp/picket-worker.test

snmp-devices: ## read the recorded SNMP devices and write docs/snmp-results.md (PICKET_SNMPSIM=HOST:PORT asks a running snmpsim)
	@PICKET_SNMP_RECORDED=1 PICKET_UPDATE=1 go test -count=1 -timeout 10m -run TestRecordedDevices -v ./plugins/discovery/snmp

soak: build ## 24 plugins under load while one after the other is killed, for SOAK (default 10m)
	@go run ./internal/soak -duration $${SOAK:-10m} -json soak.json

fuzz: ## run each fuzz target for FUZZTIME (default 20s)
	@internal/fuzz.sh $${FUZZTIME:-20s}

dist: ## a tarball and a .deb under dist/, with a registry signed by a release root
	@internal/dist.sh $(VERSION)

tools: $(TOOLS)/golangci-lint $(TOOLS)/buf $(TOOLS)/protoc-gen-go $(TOOLS)/protoc-gen-go-grpc
$(TOOLS)/golangci-lint:
	@GOBIN=$(TOOLS) go install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0
$(TOOLS)/buf:
	@GOBIN=$(TOOLS) go install github.com/bufbuild/buf/cmd/buf@v1.75.0
$(TOOLS)/protoc-gen-go:
	@GOBIN=$(TOOLS) go install google.golang.org/protobuf/cmd/protoc-gen-go@v1.36.11
$(TOOLS)/protoc-gen-go-grpc:
	@GOBIN=$(TOOLS) go install google.golang.org/grpc/cmd/protoc-gen-go-grpc@v1.6.2

clean: ## remove what was built (your data folder stays)
	@chmod -R u+w $(BIN) 2>/dev/null || true
	@rm -rf $(BIN) dist e2e-artifacts web/node_modules
