package client_test

import (
	"context"
	"fmt"
	"time"

	"tlog"
	"tlog/client"
)

// A block layer logs a write and a guest's FLUSH.
func Example() {
	server := &fake{} // in life: a tlogserver
	defer server.close()

	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	c, err := client.Open(ctx, client.Config{
		Servers: []string{"192.0.2.1:11211", "192.0.2.2:11211"},
		Vdisk:   "disk",
		Dial:    server.dial, // in life: left out
	})
	if err != nil {
		fmt.Println(err)
		return
	}

	block := make([]byte, 4096)
	sequence, err := c.Append(ctx, tlog.OpWrite, 8192, 4096, block)
	fmt.Println("write:", sequence, err)

	err = c.Flush(ctx) // the guest may be told that its data is safe when this returns nil
	fmt.Println("flush:", err, "- durable up to", c.Flushed().Sequence)

	fmt.Println("close:", c.Close(ctx))
	// Output:
	// write: 1 <nil>
	// flush: <nil> - durable up to 2
	// close: <nil>
}
