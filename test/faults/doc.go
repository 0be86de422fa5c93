// Package faults hurts the links and the stores of tlog, one fault at a time,
// and asserts what a user was promised: nothing is acknowledged that is not
// stored, what is restored is what was acknowledged, what is damaged is named,
// and when the fault is over, everything flushes.
//
// It has two matrices, both behind the build tag e2e: stores (a fault of a
// Redis, an operation, before or after it took effect: `make storefaults`) and
// networks (a fault of a link, its direction, which link: `make netfaults`).
// Each prints one line for machines last. Without -whole a few cells of each
// fault run, chosen by the date.
package faults
