package bookmark

import (
	"strings"
	"testing"
	"time"

	"tlog"
)

// golden is an entry of this version, byte for byte, and one that deletes it.
const (
	golden  = `{"version":1,"id":"00ff","vdisk":"vm","uuid":"90d9d76c-569c-5e58-a0f5-32a530557c1b","name":"n","sequence":5,"position":4,"digest":"0100000000000000000000000000000000000000000000000000000000000000","time":"2026-05-01T12:00:00.5Z","made":"2026-05-02T12:00:00Z","note":"why"}` + "\n"
	deleted = `{"version":1,"id":"00ff","vdisk":"vm","uuid":"90d9d76c-569c-5e58-a0f5-32a530557c1b","name":"n","deleted":true}` + "\n"
)

func TestGoldenEntry(t *testing.T) {
	for _, text := range []string{golden, deleted} {
		e, err := decode([]byte(text))
		if err != nil {
			t.Fatal(err)
		}
		if b, err := e.encode(); err != nil || string(b) != text {
			t.Errorf("%s is written as\n%s (%v)", text, b, err)
		}
	}
	e, err := decode([]byte(golden))
	if err != nil {
		t.Fatal(err)
	}
	b := e.bookmark()
	at := time.Date(2026, 5, 1, 12, 0, 0, 5e8, time.UTC)
	if b.Vdisk != "vm" || b.Name != "n" || b.Sequence != 5 || b.Position != 4 || b.Digest != (tlog.Hash{1}) || !b.Time.Equal(at) || b.Note != "why" {
		t.Errorf("the golden entry is %+v", b)
	}
}

func TestWrongEntries(t *testing.T) {
	for _, c := range []struct{ old, new, says string }{
		{golden, "", "no entry"},
		{golden, "{}", "without version"},
		{golden, strings.Repeat("[", 100000), "no entry"},
		{`"version":1`, `"version":2`, "update it"},
		{`"version":1`, `"version":0`, "without version"},
		{`"id":"00ff"`, `"id":""`, "without version, id"},
		{`"name":"n"`, `"name":"n/m"`, "a name has"},
		{`"sequence":5`, `"sequence":0`, "no moment"},
		{`"sequence":5`, `"sequence":-5`, "no entry"},
		{`"digest":"01`, `"digest":"`, "digest"},
		{`"digest":"01`, `"digest":"xx`, "digest"},
		{`"note":"why"`, `"note":"` + strings.Repeat("n", 5000) + `"`, "note of"},
	} {
		_, err := decode([]byte(strings.Replace(golden, c.old, c.new, 1)))
		if err == nil || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%.40q for %.40q: %v, want %q", c.new, c.old, err, c.says)
		}
	}
}

// FuzzEntry decodes anything, and wants that what it takes it writes and reads
// as the same.
func FuzzEntry(f *testing.F) {
	f.Add([]byte(golden))
	f.Add([]byte(deleted))
	f.Fuzz(func(t *testing.T, data []byte) {
		e, err := decode(data)
		if err != nil {
			return
		}
		b, err := e.encode()
		if err != nil {
			t.Fatal(err)
		}
		again, err := decode(b)
		if err != nil || again.bookmark() != e.bookmark() {
			t.Fatalf("%q is read again as %+v, %v", data, again, err)
		}
	})
}
