# Everything a person or a CI job runs. The work is in scripts/, one a target;
# this file is the list of them.
#
#	make run     build and start the demo on http://localhost:8080
#	make test    run every test of every module, installing what is missing
#	make lint    gofmt, go vet, go mod tidy, staticcheck, golangci-lint
#	make bench   run every benchmark a bound rests on; RUN=pattern selects
#	make soak    run the long crash, cluster and large-data tests; RUN=pattern selects
#	make fuzz    fuzz every target; FUZZTIME=10s each, RUN=pattern selects
#	make clean   remove what these targets built in this folder

RUN ?=
FUZZTIME ?= 10s
export RUN FUZZTIME

.PHONY: run test lint bench soak fuzz clean

run:
	@scripts/run.sh $(ARGS)

test lint bench soak fuzz:
	@scripts/$@.sh

clean:
	rm -rf bin coverage test/node_modules test/nextjs/node_modules test/nextjs/.next test/clients/node_modules test/adapters/node_modules scripts/node/node_modules
