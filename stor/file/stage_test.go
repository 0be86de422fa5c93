package file

import (
	"bytes"
	"fmt"
	"hash/crc32"
	"os"
	"testing"

	"pgregory.net/rapid"
)

// plain is what frames are on disk: headers, data and padding, one behind the other.
func plain(frames []frame, seed uint32) []byte {
	var out []byte
	for i := range frames {
		h := frames[i].header
		data := bytes.Join(frames[i].data[:], nil)
		h.dataCRC = crc32.Checksum(data, castagnoli)
		head := make([]byte, frameHeaderSize)
		h.encode(head, seed)
		out = append(append(out, head...), data...)
		out = append(out, make([]byte, h.span()-frameHeaderSize-int64(h.length))...)
	}
	return out
}

// drawFrames are those of one batch. Few are longer than the stage.
func drawFrames(t *rapid.T) (frames []frame) {
	sizes := []int{0, 1, 63, 64, 1000, block - frameHeaderSize, pieceBytes + 1, 50 << 10, 300 << 10, stageBytes, 2*stageBytes + 77}
	for range rapid.IntRange(1, 4).Draw(t, "frames") {
		n := rapid.SampledFrom(sizes).Draw(t, "size")
		data := bytes.Repeat([]byte{rapid.Byte().Draw(t, "byte"), 1, 2, 3, 5, 7, 11}, n/7+1)[:n]
		head := rapid.IntRange(0, min(n, 200)).Draw(t, "head")
		frames = append(frames, frame{header: header{kind: kindShard, length: uint32(n)}, data: [2][]byte{data[:head], data[head:]}})
	}
	return frames
}

// Whatever batches there are, and whether the log goes on where another one
// ended, the file holds the frames one behind the other, and zeroes.
func TestStage(t *testing.T) {
	dirs := 0
	rapid.Check(t, func(r *rapid.T) {
		disk := fsys(newCrashFS(1))
		if rapid.Bool().Draw(r, "real") {
			dirs++
			d := fmt.Sprintf("%s/%d", t.TempDir(), dirs)
			if err := os.Mkdir(d, 0o700); err != nil {
				r.Fatal(err)
			}
			disk = osFS(d)
		}
		l := &log{fs: disk, limit: 1 << 40, next: 1}
		var want []byte
		for range rapid.IntRange(1, 3).Draw(r, "batches") {
			frames, bytes := drawFrames(r), int64(0)
			for i := range frames {
				bytes += frames[i].header.span()
			}
			if err := l.reserve(bytes); err != nil {
				r.Fatal(err)
			}
			if rapid.Bool().Draw(r, "another") {
				l.stage = stage{}
			}
			if err := l.write(frames); err != nil {
				r.Fatal(err)
			}
			want = append(want, plain(frames, l.seed)...)
		}
		defer l.close()
		want = append(want, make([]byte, l.size-l.end)...)
		got := make([]byte, l.size-segmentHeaderSize)
		if n, err := l.f.ReadAt(got, segmentHeaderSize); n < len(got) {
			r.Fatal(n, err)
		}
		if !bytes.Equal(got, want) {
			r.Fatal("the file holds something else than the frames")
		}
	})
}

// Where the file system takes no direct write, the page cache does.
func TestNoDirectWrites(t *testing.T) {
	f, err := osFS(t.TempDir()).create("file")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	refusing, err := os.OpenFile("/proc/self/oom_score_adj", os.O_WRONLY, 0) // what is no number is EINVAL
	if err != nil {
		t.Fatal(err)
	}
	o := f.(*osFile)
	if o.direct != nil {
		o.direct.Close()
	}
	o.direct = refusing
	b := alignedBlocks(2 * block)
	b[0], b[len(b)-1] = 1, 2
	if err := f.writeAt([][]byte{b}, block); err != nil {
		t.Fatal(err)
	}
	if o.direct != nil {
		t.Error("it would be tried again")
	}
	got := make([]byte, len(b))
	if _, err := f.ReadAt(got, block); err != nil || !bytes.Equal(got, b) {
		t.Fatalf("read back: %v", err)
	}
}
