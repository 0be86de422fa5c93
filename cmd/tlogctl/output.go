package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/dustin/go-humanize"

	"tlog/stor"
)

// emit writes one JSON object as a line.
func emit(w io.Writer, v any) error { return json.NewEncoder(w).Encode(v) }

func table(w io.Writer) *tabwriter.Writer { return tabwriter.NewWriter(w, 0, 8, 2, ' ', 0) }

func bytesText(n uint64) string { return humanize.IBytes(n) }

func timeText(t time.Time) string {
	if t.IsZero() {
		return "-"
	}
	return t.UTC().Format(time.RFC3339Nano)
}

// damage is one stor.Damage as JSON shows it.
type damage struct {
	Vdisk    string `json:"vdisk,omitempty"`
	Position uint64 `json:"position,omitempty"` // absent: the whole server
	Server   string `json:"server"`
	Index    *int   `json:"index,omitempty"`
	Reason   string `json:"reason"`
}

func damageList(list []stor.Damage) []damage {
	out := make([]damage, 0, len(list))
	for _, d := range list {
		j := damage{Position: uint64(d.Position), Server: d.Server, Reason: fmt.Sprint(d.Err)}
		if !d.Vdisk.IsZero() {
			j.Vdisk = d.Vdisk.String()
		}
		if d.Index >= 0 && d.Position > 0 {
			j.Index = &d.Index
		}
		out = append(out, j)
	}
	return out
}

// summary tells of damage in one line a server: the first place and reason,
// and how many more.
func summary(list []stor.Damage) []string {
	byServer := make(map[string][]stor.Damage)
	var names []string
	for _, d := range list {
		if byServer[d.Server] == nil {
			names = append(names, d.Server)
		}
		byServer[d.Server] = append(byServer[d.Server], d)
	}
	slices.Sort(names)
	var lines []string
	for _, name := range names {
		ds := byServer[name]
		line := fmt.Sprintf("shard server %s: %v", name, place(ds[0]))
		if len(ds) > 1 {
			line += fmt.Sprintf(" (and %d more)", len(ds)-1)
		}
		lines = append(lines, line)
	}
	return lines
}

func place(d stor.Damage) string {
	var b strings.Builder
	if d.Position > 0 {
		fmt.Fprintf(&b, "position %d", d.Position)
		if d.Index >= 0 {
			fmt.Fprintf(&b, ", shard %d", d.Index)
		}
		b.WriteString(": ")
	}
	reason := strings.TrimPrefix(fmt.Sprint(d.Err), "stor: "+d.Server+": ")
	b.WriteString(strings.ReplaceAll(reason, "\n", "; "))
	return b.String()
}
