// Command tlogserver takes the record streams of virtual disks and keeps them:
// durable, encrypted, and cut into shards over the shard servers of its pool.
//
// Two lines go to standard output: where data goes and what a flush promises,
// and "listening on ADDR". The log goes to standard error. SIGTERM and SIGINT
// flush what was accepted and end the server; a second one ends it at once.
// SIGHUP has it read the file of --config again for the addresses of its shard servers.
// Exit codes: 0 done, 1 failed, 2 usage, 3 configuration or key, 6 not enough or
// unsafe shard servers, 7 not everything accepted is durable.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"tlog/cmd/internal/storage"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal is not caught
	err := command(os.Stdout, os.Stderr).ExecuteContext(ctx)
	stop()
	if err != nil {
		fmt.Fprintf(os.Stderr, "tlogserver: %v\n", err)
	}
	os.Exit(storage.ExitCode(err))
}
