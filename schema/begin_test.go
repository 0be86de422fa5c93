package schema_test

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"tlog"
	"tlog/schema"
)

// TestBegin reads long messages whose beginning is waited for before they get
// memory: they are the same, and one that only announces itself gets none.
func TestBegin(t *testing.T) {
	for _, size := range []int{1000, 512 << 10, 700_000, 4 << 20} {
		data := make([]byte, size)
		for i := range data {
			data[i] = byte(i * 7 >> 3)
		}
		block := schema.Block{Sequence: 1, Data: data}
		whole := schema.AppendBlock(nil, &block)
		whole = append(whole, whole...) // the next one begins where this ends
		for name, r := range map[string]io.Reader{"at once": bytes.NewReader(whole), "halves": iotest.HalfReader(bytes.NewReader(whole))} {
			reader := schema.NewReader(r)
			for range 2 {
				if _, err := reader.Type(); err != nil {
					t.Fatal(err)
				}
				frame, err := reader.Frame(schema.MaxBlock, func(n int) ([]byte, error) { return make([]byte, n), reader.Begin(n) })
				if err != nil || !bytes.Equal(frame, whole[1:len(whole)/2]) {
					t.Errorf("%s: %d bytes of a block of %d, %v", name, len(frame), len(whole)/2-1, err)
				}
			}
		}
		for _, cut := range []int{20, len(whole) / 20} {
			reader := schema.NewReader(bytes.NewReader(whole[:cut]))
			if _, err := reader.Type(); err != nil {
				t.Fatal(err)
			}
			given := 0
			_, err := reader.Frame(schema.MaxBlock, func(n int) ([]byte, error) {
				if err := reader.Begin(n); err != nil {
					return nil, err
				}
				given = n
				return make([]byte, n), nil
			})
			if !errors.Is(err, io.ErrUnexpectedEOF) || tlog.ClassOf(err) != tlog.Protocol || size >= 512<<10 && given > 0 {
				t.Errorf("%d of %d bytes: %d bytes were given, %v", cut, len(whole)/2, given, err)
			}
		}
	}
}
