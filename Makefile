# What a contributor needs; everything heavy is put in .sandbox and used again.

GO      ?= go
STACK   ?= dev
FUZZ    ?= 10s
# Without the limit Go minimizes one input for a minute and fuzzes none meanwhile.
GOFUZZ  := $(GO) test -run '^$$' -fuzztime $(FUZZ) -fuzzminimizetime 10x
# The AWS CLI that the tests use, where there is none on PATH.
WITH_AWS := PATH="$(CURDIR)/.sandbox/awscli/bin:$$PATH"
# The provider spends most of a test waiting for AWS to settle, so six engines at
# a time keep two cores busy; with four, a core and a half were.
GOTEST  := $(WITH_AWS) $(GO) test -parallel 6 -timeout 45m
# DWARF, which only debuggers read, takes a fifth of the compiler's time.
export GOFLAGS := $(strip $(shell $(GO) env GOFLAGS) -gcflags=all=-dwarf=false)
# With less garbage collection the compiler takes less time still, and no more memory
# than with DWARF.
COMPILE := GOGC=200 $(GO)
# The race detector needs a C compiler.
RACE    := $(shell command -v "$$($(GO) env CC)" >/dev/null 2>&1 && echo -race)

.PHONY: build bin/sandbox install demo course test fuzz lint bench charts conformance drift soak generate words pictures tidy-check oldest-go vuln release-tags clean

build:
	$(COMPILE) build -o bin/ ./verify ./sandbox

# The Pulumi engine and the AWS provider: found, downloaded or built (minutes,
# the first time), and an AWS CLI for the tests.
install: bin/sandbox
	bin/sandbox install --aws-cli

# The course's whole day, with no AWS account.
demo: bin/sandbox
	bin/sandbox demo

# The course, one key press for each command.
course: bin/sandbox
	bin/sandbox course

bin/sandbox:
	@[ -d .sandbox ] || echo 'the first run compiles the sandbox before it prints more: some minutes'
	$(COMPILE) build -o bin/ ./sandbox

test: install
	@bin/sandbox install --trino || echo 'the tests that need Trino are skipped: the line above names the reason'
	$(COMPILE) vet ./...
	$(GOTEST) $$($(GO) list ./... | grep -vE '/(localaws|verify/check)(/|$$)')
	@[ -n '$(RACE)' ] || echo 'no C compiler: localaws and verify/check are tested without the race detector'
	$(GOTEST) $(RACE) ./localaws/... ./verify/check/...
	@if [ -d .sandbox/upstream ]; then cd sandbox/provider && GOWORK=off $(GO) test .; \
	else echo 'sandbox/provider: not tested: the published plugin is in use'; fi
	$(MAKE) fuzz
	$(MAKE) -C plugin check test
	cd e2e/charts && $(GO) test .

# Briefly, in every test run; for longer, FUZZ=10m.
fuzz:
	$(GOFUZZ) -fuzz '^FuzzRequest$$' ./localaws
	$(GOFUZZ) -fuzz '^FuzzS3$$' ./localaws
	$(GOFUZZ) -fuzz '^FuzzKMS$$' ./localaws/internal/kms
	$(GOFUZZ) -fuzz '^FuzzPolicy$$' ./localaws/internal/policy
	OUTSIDERS=$(FUZZ) $(GO) test -run '^TestOutsiders_AreNotAdmitted$$' -count=1 -timeout 0 -v ./localaws/internal/policy

lint:
	$(GO) run github.com/rhysd/actionlint/cmd/actionlint@v1.7.12 -shellcheck=
	@for m in . plugin e2e/charts; do (cd $$m && $(GO) run github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0 run) || exit 1; done

# go.mod and go.sum name exactly what is used. sandbox/provider is left out: its
# upstream module is a folder that `make install` makes.
tidy-check:
	@for m in . plugin e2e/charts plugin/java sandbox/pulumi sandbox/yaml; do echo "go mod tidy -diff: $$m"; (cd $$m && GOWORK=off $(GO) mod tidy -diff) || exit 1; done

# Importers need no newer Go than the go directive names; the toolchain directive
# is for work on this repository.
oldest-go:
	GOTOOLCHAIN=go$$(sed -n 's/^go //p' go.mod) $(GO) build ./...

# Known vulnerabilities that the code reaches.
vuln:
	@for m in . plugin; do (cd $$m && $(GO) run golang.org/x/vuln/cmd/govulncheck@v1.9.0 ./...) || exit 1; done

# Words that docs/style.md replaces.
words:
	scripts/words.sh

generate:
	$(GO) generate ./...
	$(MAKE) -C plugin generate

# What is to be fast, measured side by side; BENCH='-runs 1 -only course' for a
# part, BENCH='-cold -write docs/benchmarks.md -json docs/benchmarks.json' for the
# document.
bench:
	$(GO) run ./e2e/bench $(BENCH)

# The charts of docs/benchmarks.md, from the figures of make bench.
charts:
	cd e2e/charts && $(GO) run . ../../docs/benchmarks.json ../../docs

# Does localaws answer as AWS does? PROFILE=name compares it with an AWS account,
# ENDPOINT=url with another endpoint; nothing is called before YES=1 confirms the
# costs that it prints. CONFORMANCE='-account-wide -messages' for more flags.
conformance:
	$(GO) build -o bin/ ./e2e/conformance
	bin/conformance $(if $(PROFILE),-profile '$(PROFILE)') $(if $(ENDPOINT),-endpoint '$(ENDPOINT)') $(if $(YES),-yes) $(CONFORMANCE)

# What README.md shows: the recording of the demo, and the HTML report.
pictures: install
	$(GO) run ./e2e/pictures docs/demo.svg
	GO='$(GO)' scripts/report-picture.sh docs/report.png

# Interrupts up and destroy at every call to AWS, in every way: hours. SOAK=5 for
# every fifth call.
SOAK ?= 1
soak: install
	KMS_BASELINE_SOAK=$(SOAK) $(WITH_AWS) $(GO) test ./e2e -run '^TestSoak$$' -parallel 6 -v -timeout 24h

# Real AWS: is STACK still as it was deployed, and does AWS prove it?
drift:
	scripts/drift.sh $(STACK)

# The tags of a release; VERSION=1.2.3. Push them to release.
release-tags:
	scripts/release-tags.sh '$(VERSION)'

clean:
	rm -rf bin dist
