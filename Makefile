# Targets are described by the comment after '##'; `make help` prints them.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# The Envoy of Kuma 2.14, which the commands run, and the newest.
ENVOY_VERSION := 1.38.2
ENVOY_VERSIONS := $(ENVOY_VERSION) 1.40.0

# The tools that are not part of the program have a module of their own.
TOOL = go tool -modfile=tools.mod
GET_ENVOY = python3 build/envoy/envoy.py
# Test files of this module (kuma/ is one of its own) that contain $(1), and their packages.
test_files_with = $(sort $(filter-out ./kuma/%,$(shell grep -rlE --include='*_test.go' '$(1)' .)))
packages_with = $(sort $(dir $(call test_files_with,$(1))))

.PHONY: help
help: ## this list
	@echo 'make <target>, where the target is one of'
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-16s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

.PHONY: build
build: ## build bin/kuma-mirror
	@mkdir -p bin
	go build -trimpath -o bin/kuma-mirror ./cmd/kuma-mirror

.PHONY: envoy
envoy: ## get the pinned Envoy; the last line printed is its path (ENVOY=... uses yours)
	@$(GET_ENVOY) path $(ENVOY_VERSION)

.PHONY: envoys
envoys: ## get every Envoy the tests run on
	@$(GET_ENVOY) tests $(ENVOY_VERSIONS) | tr ':' '\n'

.PHONY: browser
browser: ## get the pinned Chromium that e2e/gui drives; the last line printed is its path (CHROME=... uses yours)
	@node build/chrome/chrome.mjs

.PHONY: screenshots
screenshots: ## take the pictures of the web page in docs anew
	CHROME="$$(node build/chrome/chrome.mjs)" KUMA_MIRROR_TEST_ENVOYS="$$($(GET_ENVOY) tests $(ENVOY_VERSION))" \
		SCREENSHOTS=$(CURDIR)/docs go test -count=1 ./e2e/gui

.PHONY: demo
demo: build envoy ## two backends, a mirror and an Envoy to look at; Ctrl-C ends it
	@bin/kuma-mirror demo $(DEMO_FLAGS)

.PHONY: test
test: ## every test, on every pinned Envoy
	@ENVOY_VERSIONS='$(ENVOY_VERSIONS)' build/test.sh

.PHONY: lint
lint: ## formatting, vet, staticcheck, buf, go.mod, promtool
	@build/lint.sh

.PHONY: generate
generate: ## write api/**/*.pb.go anew from the .proto files
	$(TOOL) buf generate

.PHONY: notice
notice: ## write NOTICE anew: the licences of what is linked
	@build/notice.py > NOTICE.new && mv NOTICE.new NOTICE || { rm -f NOTICE.new; exit 1; }

.PHONY: check-generated
check-generated: ## fail if `make generate` or `make notice` would change anything
	@build/check-generated.sh

.PHONY: golden
golden: ## write the golden files anew; read the diff before you commit it
	UPDATE_GOLDEN_FILES=true KUMA_MIRROR_TEST_ENVOYS="$$($(GET_ENVOY) tests $(ENVOY_VERSIONS))" \
		go test -count=1 $(call packages_with,UPDATE_GOLDEN_FILES)

.PHONY: bench
bench: build ## every benchmark (BENCH=regexp for some)
	KUMA_MIRROR_TEST_ENVOYS="$$($(GET_ENVOY) tests $(ENVOY_VERSIONS))" \
		go test -run '^$$' -bench '$(or $(BENCH),.)' -benchmem -timeout 30m $(call packages_with,^func Benchmark)

IMPACT_RESULTS ?= impact-results.json
IMPACT_NEWEST = $(IMPACT_RESULTS:.json=-newest.json)
.PHONY: impact
impact: envoys ## the whole impact laboratory, more than an hour on a quiet machine (IMPACT_RESULTS=file)
	@mkdir -p bin
	go build -trimpath -buildvcs=false -o bin/kuma-mirror-impact ./cmd/kuma-mirror-impact
	@rm -f '$(IMPACT_RESULTS)' '$(IMPACT_NEWEST)'
	@status=0; impact() { echo "== kuma-mirror-impact $$*"; bin/kuma-mirror-impact "$$@" || status=1; }; \
	impact --results '$(IMPACT_RESULTS)'; \
	impact rate --shadow healthy,refused --results '$(IMPACT_RESULTS)'; \
	impact soak --results '$(IMPACT_RESULTS)'; \
	impact --quick --rounds 2 --protections on --envoy "$$($(GET_ENVOY) path $(lastword $(ENVOY_VERSIONS)))" --results '$(IMPACT_NEWEST)'; \
	exit $$status

.PHONY: crash
crash: ## kill the host KILLS (1000) times in the middle of writes, and count what is lost
	KUMA_MIRROR_CRASH_KILLS=$(or $(KILLS),1000) go test -count=1 -timeout 60m -v ./e2e/crash

.PHONY: test-kuma
test-kuma: ## the tests of the adapter in kuma/, which need Kuma's Go module
	@cd kuma && go mod download github.com/kumahq/kuma/v2 || { \
		echo "The tests of kuma/ were not run: Kuma's Go module cannot be downloaded. They need a proxy that has github.com/kumahq (GOPROXY), or the module in the cache." >&2; \
		exit 1; \
	}
	cd kuma && go test -mod=mod -count=1 ./...

.PHONY: fuzz
fuzz: ## fuzz every target for FUZZTIME (30s)
	@for file in $(call test_files_with,^func Fuzz); do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' "$$file"); do \
			echo "== $$target ($$file)"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime '$(or $(FUZZTIME),30s)' -fuzzminimizetime 50x "$$(dirname "$$file")" || exit 1; \
		done; \
	done

GORELEASER = go tool -modfile=build/release/tools.mod goreleaser
.PHONY: release-check
release-check: ## check .goreleaser.yaml and build what a release has, but for the images, into dist/
	$(GORELEASER) check
	$(GORELEASER) release --snapshot --clean --skip=ko

.PHONY: release
release: ## make the release of the tag that is checked out, as a draft on GitHub (GITHUB_TOKEN)
	$(GORELEASER) release --clean

.PHONY: clean
clean: ## remove what was built; the Envoys stay
	rm -rf bin dist .cache
