// Package e2e tests tlog as its users run it: the built programs, real NBD
// clients, real Redis servers, real kills and real damage. Its tests carry the
// build tag e2e and are run by `make e2e`, which builds and installs what they
// use first.
package e2e
