package bench

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"

	"tlog/internal/bench/stage"
)

// Text writes tables for people, and the line for machines last.
func (r *Report) Text(w io.Writer) error {
	var errs []error
	say := func(format string, a ...any) {
		_, err := fmt.Fprintf(w, format, a...)
		errs = append(errs, err)
	}
	say("calibration, cpu-s/GB of payload (4 KiB records, 256 an aggregation, incompressible), %d cores:\n", runtime.NumCPU())
	for _, name := range stage.Names {
		say("  %s %.3f", name, r.Stages[name])
	}
	say("\n\n")
	for _, g := range []struct {
		title   string
		metrics string
		has     string // a metric that the cases of the table have
		mode    string // of them; empty: any
	}{
		{"throughput", "mbps ops cpu cpu_client cpu_server cpu_store s r_cpu r_mbps bare_mbps ratio others", "r_mbps", ""},
		{"steady state", "rss_client rss_server allocs_client allocs_server gc_server calls_client calls_server", "allocs_server", ""},
		{"latency, µs", "recv_p50 recv_p99 flush_p50 flush_p99 bare_p50 bare_p99 ratio_p50 ratio_p99", "flush_p50", ""},
		{"NBD", "ops mbps cpu bare_ops ratio flush_p50 flush_p99 bare_p50 bare_p99", "ops", ModeFio},
		{"tlogctl", "seconds mbps rss_client", "seconds", ""},
		{"past", "index_s index_mb first_s positions read_ratio restore_s cpu_client grow grow_live grow_cpu rollback cp_ratio copy_ratio again_ratio rss_client rss_map", "index_s", ""},
		{"idle vdisks", "rss_server rss_idle", "rss_idle", ""},
	} {
		errs = append(errs, r.table(w, g.title, strings.Fields(g.metrics), g.has, g.mode))
	}
	if x := r.others(); x > 0.1 {
		say("others used %.0f %% of this machine meanwhile: R_cpu and allocations hold, MB/s, R_mbps and latencies are also theirs\n\n", 100*x)
	}
	errs = append(errs, r.TargetsText(w))
	if line := r.LastLine(); line != lastPrefix {
		say("%s\n", line)
	}
	return errors.Join(errs...)
}

// others is the part of the machine that others used, in the median of the cases.
func (r *Report) others() float64 {
	var list []float64
	for i := range r.Results {
		if x, ok := r.Results[i].Medians["others"]; ok {
			list = append(list, x)
		}
	}
	return Median(list)
}

// table is the metrics of the results that have one of them.
func (r *Report) table(w io.Writer, title string, names []string, has, mode string) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', tabwriter.AlignRight)
	rows := 0
	_, _ = fmt.Fprintf(t, "%s\t", title)
	for _, name := range names {
		_, _ = fmt.Fprintf(t, "%s\t", name)
	}
	_, _ = fmt.Fprintln(t)
	for i := range r.Results {
		v := r.Results[i].Medians
		if _, ok := v[has]; !ok || mode != "" && mode != r.Results[i].Case.Mode {
			continue
		}
		rows++
		_, _ = fmt.Fprintf(t, "%s\t", r.Results[i].Case.Name)
		for _, name := range names {
			_, _ = fmt.Fprintf(t, "%s\t", number(v, name))
		}
		_, _ = fmt.Fprintln(t)
	}
	if rows == 0 {
		return nil
	}
	_, _ = fmt.Fprintln(t)
	return t.Flush()
}

func number(v Values, name string) string {
	x, ok := v[name]
	if !ok {
		return "-"
	}
	for _, m := range metrics {
		if m.name == name {
			return strconv.FormatFloat(x, 'f', m.digits, 64)
		}
	}
	return fmt.Sprint(x)
}

// TargetsText writes what must be reached, and whether it is, as far as it was measured.
func (r *Report) TargetsText(w io.Writer) error {
	t := tabwriter.NewWriter(w, 0, 8, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "must reach\tfigure\tmeasured\ttarget\t")
	known := 0
	for _, x := range r.Targets() {
		if !x.Known() {
			continue
		}
		known++
		sign, verdict := "≥", "NOT MET"
		if x.AtMost {
			sign = "≤"
		}
		if x.Met() {
			verdict = "met"
		}
		_, _ = fmt.Fprintf(t, "%s\t%s\t%.3f\t%s %g\t%s\n", x.What, x.Figure, x.Measured, sign, x.Limit, verdict)
	}
	if known == 0 {
		return nil
	}
	_, _ = fmt.Fprintln(t)
	return t.Flush()
}

// JSON writes one object a line: the stages, each case, each target, and the
// line for machines.
func (r *Report) JSON(w io.Writer) error {
	e := json.NewEncoder(w)
	errs := []error{e.Encode(map[string]any{"kind": "calibration", "cores": runtime.NumCPU(), "cpu_s_per_gb": r.Stages})}
	for i := range r.Results {
		x := &r.Results[i]
		errs = append(errs, e.Encode(map[string]any{"kind": "case", "name": x.Case.Name, "case": x.Case, "median": finite(x.Medians), "turns": turns(x.Turns)}))
	}
	for _, x := range r.Targets() {
		if x.Known() {
			errs = append(errs, e.Encode(struct {
				Kind string `json:"kind"`
				Target
				Measured float64 `json:"measured"`
				Met      bool    `json:"met"`
			}{"target", x, x.Measured, x.Met()}))
		}
	}
	return errors.Join(append(errs, e.Encode(map[string]any{"kind": "last", "line": r.LastLine()}))...)
}

func turns(list []Values) (out []Values) {
	for _, v := range list {
		out = append(out, finite(v))
	}
	return out
}

// finite leaves out what JSON has no word for.
func finite(v Values) Values {
	out := make(Values)
	for name, x := range v {
		if !math.IsNaN(x) && !math.IsInf(x, 0) {
			out[name] = x
		}
	}
	return out
}
