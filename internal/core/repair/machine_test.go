package repair_test

import (
	"fmt"
	"reflect"
	"strconv"
	"strings"
	"testing"

	"tlog/internal/core/repair"
)

// A script is one pass: "event → actions" a line. Shards are written by server:
// 0…9 an index held well, d3 index 3 damaged, x something with a claim that is
// damaged, - nothing, ? no answer; claims in
// the same way.
func run(t *testing.T, cfg repair.Config, script string) {
	t.Helper()
	m := repair.New(cfg)
	for _, line := range strings.Split(strings.TrimSpace(script), "\n") {
		event, want, _ := strings.Cut(line, "→")
		var got []string
		for _, a := range m.Step(parse(t, cfg, strings.Fields(event))) {
			got = append(got, text(a))
		}
		if g, w := strings.Join(got, ", "), strings.TrimSpace(want); g != w {
			t.Fatalf("%s\n got %s\nwant %s", strings.TrimSpace(event), g, w)
		}
	}
}

func parse(t *testing.T, cfg repair.Config, w []string) repair.Event {
	switch w[0] {
	case "start":
		return repair.Start{}
	case "unlisted":
		return repair.Listed{Failed: true}
	case "listed": // listed FROM claims …
		e := repair.Listed{From: 1}
		fmt.Sscan(w[1], &e.From)
		for _, claims := range w[2:] {
			e.Places = append(e.Places, place(claims))
		}
		return e
	case "looked": // looked POS shards
		e := repair.Looked{}
		fmt.Sscan(w[1], &e.Position)
		e.Shards = shards(t, w[2])
		if len(e.Shards) != cfg.P {
			t.Fatalf("%s: %d shards", w[2], len(e.Shards))
		}
		return e
	}
	// OUTCOME POS SERVER
	outcomes := map[string]repair.Outcome{"done": repair.Done, "refused": repair.Refused, "behind": repair.Behind, "outbid": repair.Outbid, "conflict": repair.Conflict}
	o, ok := outcomes[w[0]]
	if !ok {
		t.Fatalf("unknown event %s", w[0])
	}
	e := repair.Stored{Outcome: o}
	fmt.Sscan(w[1], &e.Position)
	fmt.Sscan(w[2], &e.Server)
	return e
}

func place(claims string) repair.Place {
	if claims == "unknown" {
		return repair.Place{}
	}
	p := repair.Place{Known: true}
	for _, c := range claims {
		switch c {
		case '-':
			p.Index = append(p.Index, repair.None)
		case '?':
			p.Index = append(p.Index, repair.Unsure)
		case 'x':
			p.Index = append(p.Index, repair.Bad)
		default:
			p.Index = append(p.Index, int(c-'0'))
		}
	}
	return p
}

func shards(t *testing.T, text string) []repair.Shard {
	var list []repair.Shard
	damaged := false
	for _, c := range text {
		switch {
		case c == 'd':
			damaged = true
			continue
		case c == 'x':
			list = append(list, repair.Shard{State: repair.Damaged, Index: repair.None})
		case c == '-':
			list = append(list, repair.Shard{State: repair.Absent})
		case c == '?':
			list = append(list, repair.Shard{State: repair.Silent})
		case damaged:
			list = append(list, repair.Shard{State: repair.Damaged, Index: int(c - '0')})
		default:
			n, err := strconv.Atoi(string(c))
			if err != nil {
				t.Fatal(err)
			}
			list = append(list, repair.Shard{State: repair.Good, Index: n})
		}
		damaged = false
	}
	return list
}

func text(a repair.Action) string {
	switch a := a.(type) {
	case repair.List:
		return fmt.Sprintf("list %d-%d", a.From, a.To)
	case repair.Look:
		return fmt.Sprintf("look %d", a.Position)
	case repair.Write:
		s := fmt.Sprintf("%d.%d>%d", a.Position, a.Index, a.Server)
		if a.Replace {
			s += " replace"
		}
		if a.Fence {
			s += " fence"
		}
		return s
	case repair.Finished:
		s := fmt.Sprintf("finished %d written %d short %d", a.Position, a.Written, a.Short)
		if a.Lost {
			s += " lost"
		}
		return s
	case repair.End:
		return fmt.Sprintf("end %d", a.Reason)
	}
	return reflect.TypeOf(a).String()
}

// TestDamagedClaims are passes over positions of which a server claims nonsense.
func TestDamagedClaims(t *testing.T) {
	spare := repair.Config{P: 4, N: 3, K: 2, Head: 1}
	for _, c := range []struct{ name, text string }{
		{"a damaged claim is looked at though n indices are claimed, and made again with its shard", `
			start → list 1-1
			listed 1 012x → look 1
			looked 1 012x → 1.0>3 replace
			done 1 3 → finished 1 written 1 short 0, end 0`},
		{"a damaged claim without a shard makes room for what is missing", `
			start → list 1-1
			listed 1 0x2- → look 1
			looked 1 0x20 → 1.1>1 replace
			done 1 1 → finished 1 written 1 short 0, end 0`},
		{"or for what its server would have first", `
			start → list 1-1
			listed 1 01x2 → look 1
			looked 1 01x2 → 1.2>2 replace
			done 1 2 → finished 1 written 1 short 0, end 0`},
	} {
		t.Run(c.name, func(t *testing.T) { run(t, spare, c.text) })
	}
}

func TestPass(t *testing.T) {
	spare := repair.Config{P: 4, N: 3, K: 2, Head: 1}
	strict := repair.Config{P: 3, N: 3, K: 2, Head: 1}
	two := repair.Config{P: 4, N: 3, K: 2, Head: 2}
	for _, c := range []struct {
		name string
		cfg  repair.Config
		text string
	}{
		{"an empty log", repair.Config{P: 4, N: 3, K: 2}, `
			start → end 0`},
		{"claims of n indices are enough for a cheap pass", two, `
			start → list 1-2
			listed 1 012- 0-12 → finished 1 written 0 short 0, finished 2 written 0 short 0, end 0`},
		{"a deep pass reads them all the same", repair.Config{P: 4, N: 3, K: 2, Head: 2, Deep: true, Window: 1}, `
			start → list 1-2
			listed 1 012- 012- → look 1
			looked 1 012- → finished 1 written 0 short 0, look 2
			looked 2 0d12- → 2.1>1 replace
			done 2 1 → finished 2 written 1 short 0, end 0`},
		{"pages follow each other", repair.Config{P: 4, N: 3, K: 2, Head: 3, Page: 2}, `
			start → list 1-2
			listed 1 012- 012- → finished 1 written 0 short 0, finished 2 written 0 short 0, list 3-3
			listed 3 012- → finished 3 written 0 short 0, end 0`},
		{"the position with the fewest indices comes first", repair.Config{P: 4, N: 4, K: 2, Head: 2, Window: 1}, `
			start → list 1-2
			listed 1 012- 0-1- → look 2
			looked 2 0-1- → 2.2>3, 2.3>1
			done 2 3 → 
			done 2 1 → finished 2 written 2 short 0, look 1
			looked 1 012- → 1.3>3
			done 1 3 → finished 1 written 1 short 0, end 0`},
		{"what is missing goes home, or to who has nothing", spare, `
			start → list 1-1
			listed 1 0-2- → look 1
			looked 1 0-2- → 1.1>1
			done 1 1 → finished 1 written 1 short 0, end 0`},
		{"what is damaged is replaced where it is", spare, `
			start → list 1-1
			listed 1 01-- → look 1
			looked 1 0d12- → 1.1>1 replace
			done 1 1 → finished 1 written 1 short 0, end 0`},
		{"a damaged shard that others hold makes room", strict, `
			start → list 1-1
			listed 1 00- → look 1
			looked 1 0d02 → 1.1>1 replace
			done 1 1 → finished 1 written 1 short 0, end 0`},
		{"so does one of two, and never the only one", strict, `
			start → list 1-1
			listed 1 001 → look 1
			looked 1 001 → 1.2>0 replace
			done 1 0 → finished 1 written 1 short 0, end 0`},
		{"a silent server may hold what is missing", spare, `
			start → list 1-1
			listed 1 01-- → look 1
			looked 1 01?- → finished 1 written 0 short 1, end 0`},
		{"damage is repaired beside a silent server", spare, `
			start → list 1-1
			listed 1 -1-- → look 1
			looked 1 1d02? → 1.0>1 replace
			done 1 1 → finished 1 written 1 short 0, end 0`},
		{"an unsure server is waited for without reading", spare, `
			start → list 1-1
			listed 1 01?- → finished 1 written 0 short 1, end 0`},
		{"fewer than k good shards: nothing is written", spare, `
			start → list 1-1
			listed 1 01-- → look 1
			looked 1 0d1-- → finished 1 written 0 short 2 lost, end 0`},
		{"a server that missed the takeover is fenced first, once", spare, `
			start → list 1-1
			listed 1 01-- → look 1
			looked 1 01-- → 1.2>2
			behind 1 2 → 1.2>2 fence
			behind 1 2 → finished 1 written 0 short 1, end 0`},
		{"another owner ends the pass, and nothing more is sent", repair.Config{P: 4, N: 3, K: 2, Head: 3}, `
			start → list 1-3
			listed 1 01-- 01-- 01-- → look 1, look 2
			looked 1 01-- → 1.2>2
			outbid 1 2 → finished 1 written 0 short 1
			looked 2 01-- → finished 2 written 0 short 1, end 1`},
		{"a conflict ends the pass", spare, `
			start → list 1-1
			listed 1 01-- → look 1
			looked 1 01-- → 1.2>2
			conflict 1 2 → finished 1 written 0 short 1, end 2`},
		{"too few servers", spare, `
			start → list 1-1
			unlisted → end 3`},
		{"what nobody claims is lost, if everybody was asked", two, `
			start → list 1-2
			listed 1 unknown 012- → finished 1 written 0 short 3 lost, finished 2 written 0 short 0, end 0`},
	} {
		t.Run(c.name, func(t *testing.T) { run(t, c.cfg, c.text) })
	}
}
