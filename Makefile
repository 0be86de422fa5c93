# tlog: continuous data protection for virtual disks.
# `make` alone prints this menu. Nothing needs to be installed by hand: `make
# deps`, which the other targets call, installs the Debian packages they use.

GO      ?= go
PLUGIN  := bin/nbdkit-tlog-plugin.so
FUZZTIME ?= 3s
STATES  ?= 0
POOL    ?=
RULE    ?=
SEEDS   ?= 3000
SEED    ?= 0
BENCH   ?=
RUNS    ?= 3
BASE    ?= main
PKGS    ?=
N       ?= 60
D       ?= 1h
EXECS   ?= 0
POINTS  ?= 300

.PHONY: help deps build run test unit race invariants lint generate generate-check modelcheck modelcheck-short fuzz bench bench-stages bench-compare e2e sim crash soak overload storefaults netfaults kernel guest mutants mutants-today proof clean

help:                ## print this menu
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-16s %s\n", $$1, $$2 }' Makefile

deps:                ## install the Debian packages that building and testing use
	@sh scripts/deps.sh

build: deps          ## build tlogserver, tlogctl, tlognbd and the nbdkit plugin into ./bin
	@mkdir -p bin
	$(GO) build -o bin/ ./cmd/tlogserver ./cmd/tlogctl ./cmd/tlognbd
	$(GO) build -tags nbdkit -buildmode=c-shared -o $(PLUGIN) ./cmd/nbdkit-tlog-plugin
	@rm -f bin/nbdkit-tlog-plugin.h

run: build           ## start a server with the embedded store and a protected NBD disk
	@sh scripts/run.sh

test: build generate-check lint unit race modelcheck-short e2e sim crash overload fuzz mutants-today   ## everything CI checks
	@echo "make test: all passed"

unit:                ## unit tests: all that a machine with only Go can run
	$(GO) test -timeout 20m ./...

race: deps           ## unit tests under the race detector, with recycled memory poisoned
	$(GO) test -timeout 20m -race -short -tags invariants ./...

invariants:          ## the write path's tests with recycled memory poisoned
	$(GO) test -short -tags invariants ./internal/reuse ./crypto ./aggregate ./player ./stor/... ./server ./client

lint: deps           ## gofmt, go vet, staticcheck
	@test -z "$$(gofmt -l $$(git ls-files '*.go' ':!*.capnp.go'))" || { gofmt -l $$(git ls-files '*.go' ':!*.capnp.go'); exit 1; }
	$(GO) vet ./...
	$(GO) vet -tags nbdkit,e2e ./...
	$(GO) vet -tags invariants ./internal/reuse
	$(GO) vet -tags nbdkit,failpoint ./...
	$(GO) tool staticcheck ./...
	$(GO) tool staticcheck -tags nbdkit,e2e ./...
	$(GO) tool staticcheck -tags nbdkit,failpoint ./...

generate: deps       ## compile the Cap'n Proto schema again
	$(GO) generate ./...

generate-check: generate
	@git diff --exit-code -- schema/ || { echo "go generate changed the tree: commit the result"; exit 1; }

modelcheck:          ## explore every schedule; STATES= of each pool, POOL=, RULE=, SEED=
	@sh scripts/modelcheck.sh "$(STATES)" "$(POOL)" "$(RULE)" "$(SEED)"

modelcheck-short:    ## a minute of it
	@sh scripts/modelcheck.sh 100000

fuzz:                ## every fuzz target for FUZZTIME (default 3s) each, and on until EXECS= in total
	@sh scripts/fuzz.sh $(FUZZTIME) $(EXECS)

bench: build         ## measure the whole: real processes, calibration, targets; BENCH= some parts, RUNS=
	@bin/tlogctl bench --runs $(RUNS) $(BENCH)

bench-stages: deps   ## Go benchmarks: each stage and package alone, the path in one process
	@sh scripts/bench.sh

bench-compare:       ## stage benchmarks of BASE= (a revision) and of the tree as it is, compared
	@sh scripts/bench-compare.sh "$(BASE)" "$(PKGS)"

kernel: deps         ## unpack a Debian kernel for the tests' guest into bin/guest
	@sh scripts/kernel.sh

guest: build kernel  ## a Debian guest on a tlog disk, its power cut: all of its POINTS flush points
	@sh scripts/guest.sh "$(POINTS)"

e2e: build kernel    ## real clients, real Redis, real faults, end to end
	$(GO) test -tags nbdkit -count=1 ./cmd/nbdkit-tlog-plugin
	$(GO) test -tags e2e -count=1 -timeout 40m ./schema ./stor/redis ./internal/sim/store ./test/e2e ./test/faults

storefaults: deps    ## 24 faults of a Redis x 4 operations x before/after they took effect
	@sh scripts/faults.sh stores

mutants:             ## plant every known bug, one at a time: the tests must catch it, five times of five
	@$(GO) run ./test/mutants

mutants-today:       ## four of them, others every day
	@$(GO) run ./test/mutants -today

netfaults: build     ## 8 faults of a link x 2 directions x 2 links, and 6 shapes of partition
	@sh scripts/faults.sh net

sim:                 ## simulate SEEDS fresh seeds (default 3000), or one: SEED=n, with its trace
	@$(GO) build -o bin/sim ./test/sim && bin/sim -seeds $(SEEDS) -seed $(SEED)

crash: deps          ## kill real processes N times (default 60) and cut their power; SEED=
	@sh scripts/crash.sh -n $(N) -seed $(SEED)

soak: deps           ## 70 % load for D (default 1h), a fault a minute, then overload and a stall; SEED=
	@sh scripts/soak.sh -d $(D) -seed $(SEED)

overload: deps       ## four times the load that a server takes, and stores that stand still meanwhile
	@sh scripts/soak.sh -d 0 -stall 5s -seed $(SEED)

proof: build         ## what takes longer than make test: about 95 minutes
	$(MAKE) modelcheck
	$(MAKE) sim SEEDS=20000 SEED=0
	@sh scripts/crash.sh -n 500 -points 5 -seed $(SEED)
	$(MAKE) soak D=5m
	$(MAKE) guest
	$(MAKE) storefaults
	$(MAKE) netfaults
	$(MAKE) fuzz FUZZTIME=40s EXECS=15000000
	$(MAKE) mutants
	$(GO) test -tags e2e -count=1 -timeout 30m -run '^TestFailover$$' ./test/e2e -long

clean:               ## remove what make built
	rm -rf bin
