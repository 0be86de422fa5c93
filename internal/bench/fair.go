package bench

import (
	"context"
	"errors"
)

// fair is what a writer that waits for its flushes feels of another vdisk that
// streams through the same server: its latencies beside the stream, and as
// what they are compared with, those before it.
func (h *Harness) fair(ctx context.Context, c Case) (v Values, err error) {
	s, err := h.newStack(ctx, c)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.end(err != nil)) }()
	c.Mode = ModeSync
	quiet, err := h.load(c, s.server.addr)
	if err != nil {
		return nil, err
	}
	quiet.Name = "alone"
	alone, err := h.drive(ctx, s, quiet, make(Values))
	if err != nil {
		return nil, err
	}
	busy := quiet
	busy.Mode, busy.Name = ModeStream, "busy"
	busy.For = 2 * (quiet.Warm + quiet.For) // longer than the quiet one takes
	stream, err := h.startClient(ctx, busy)
	if err != nil {
		return nil, err
	}
	type ending struct {
		Outcome
		err error
	}
	ended := make(chan ending, 1)
	go func() {
		o, err := stream.measure()
		ended <- ending{o, err}
	}()
	quiet.Name = "beside"
	beside, err := h.drive(ctx, s, quiet, make(Values))
	if err != nil {
		stream.kill()
		<-ended
		return nil, err
	}
	e := <-ended
	if err := errors.Join(e.err, stream.end(ctx)); err != nil {
		return nil, err
	}
	v = Values{
		"mbps": mbps(e.Bytes, e.Seconds), "ops": float64(beside.Records) / beside.Seconds,
		"bare_ops":  float64(alone.Records) / alone.Seconds,
		"flush_p50": micros(beside.FlushOK.P50), "flush_p99": micros(beside.FlushOK.P99),
		"bare_p50": micros(alone.FlushOK.P50), "bare_p99": micros(alone.FlushOK.P99),
	}
	v.divide("ratio_p50", v["flush_p50"], v["bare_p50"])
	v.divide("ratio_p99", v["flush_p99"], v["bare_p99"])
	return v, nil
}
