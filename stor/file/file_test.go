package file_test

import (
	"testing"

	"tlog/stor"
	"tlog/stor/file"
	"tlog/stor/stortest"
)

func TestConformance(t *testing.T) {
	open := func(t *testing.T, dir string) stor.Server {
		s, err := file.Open(dir, file.Options{SegmentBytes: 1})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { s.Close() })
		return s
	}
	stortest.Run(t, stortest.Backend{
		Open: func(t *testing.T) stor.Server { return open(t, t.TempDir()) },
		Reopen: func(t *testing.T, s stor.Server) stor.Server {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			return open(t, s.Name())
		},
	})
}
