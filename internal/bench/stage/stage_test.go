package stage_test

import (
	"math/rand/v2"
	"testing"

	"tlog/internal/bench/stage"
)

func config(record, records int) stage.Config {
	b := make([]byte, 2<<20)
	_, _ = rand.NewChaCha8([32]byte{1}).Read(b)
	return stage.Config{Content: b, Record: record, Records: records, Data: 4, Parts: 6}
}

// Every stage does its work at each size, more than once.
func TestStages(t *testing.T) {
	for _, c := range []stage.Config{config(4<<10, 256), config(4<<10, 25), config(64<<10, 16), config(1<<20, 1)} {
		for _, name := range stage.Names {
			s, err := stage.Open(name, c)
			if err != nil {
				t.Fatal(err)
			}
			for range 2 {
				if err := s.Do(); err != nil {
					t.Errorf("%s, %d records of %d bytes: %v", name, c.Records, c.Record, err)
				}
			}
			if err := s.Close(); err != nil {
				t.Errorf("%s: close: %v", name, err)
			}
		}
	}
	if _, err := stage.Open("none", config(4096, 1)); err == nil {
		t.Error("opened a stage that there is none of")
	}
	if _, err := stage.Open("gcm", stage.Config{Record: 1, Records: 1, Data: 4, Parts: 6}); err == nil {
		t.Error("opened a stage without content")
	}
}

// What does not compress is stored as it is; what does, as what is left.
func TestStored(t *testing.T) {
	c := config(4<<10, 256)
	if got := c.Stored(); got != c.Bytes() {
		t.Errorf("%d of %d random bytes are stored", got, c.Bytes())
	}
	clear(c.Content[:c.Bytes()/2])
	if got := c.Stored(); got < c.Bytes()/2 || got > c.Bytes()*51/100 {
		t.Errorf("%d of %d bytes, half of them zeroes, are stored", got, c.Bytes())
	}
}
