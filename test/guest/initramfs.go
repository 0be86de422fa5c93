package guest

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// tools are the host's programs that the guest runs.
var tools = []string{"mkfs.ext4", "sqlite3"}

// initGo is the package of the guest's first process.
const initGo = "tlog/test/guest/init"

// Initramfs makes the file that a kernel boots from; scratch is a directory for
// what is made on the way.
func Initramfs(k *Kernel, scratch string) (string, error) {
	init := filepath.Join(scratch, "init")
	build := exec.Command("go", "build", "-o", init, initGo)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("guest: building %s: %w\n%s", initGo, err, out)
	}
	files := map[string]string{"/init": init}
	if err := addTools(files); err != nil {
		return "", err
	}
	var order strings.Builder
	modules, err := k.modules("virtio_pci", "virtio_blk", "virtio_rng")
	if err != nil {
		return "", err
	}
	for _, m := range modules {
		name := "/modules/" + filepath.Base(m)
		files[name] = m
		fmt.Fprintln(&order, name)
	}
	packed, err := pack(files, map[string]string{"/modules/order": order.String()})
	if err != nil {
		return "", err
	}
	name := filepath.Join(scratch, "initramfs")
	return name, os.WriteFile(name, packed, 0o600)
}

// addTools adds the tools and the libraries that they are linked with, under
// the names that the loader looks for.
func addTools(files map[string]string) error {
	for _, tool := range tools {
		program, err := exec.LookPath(tool)
		if err != nil {
			return fmt.Errorf("guest: %w", err)
		}
		files["/bin/"+tool] = program
		out, err := exec.Command("ldd", program).Output()
		if err != nil {
			return fmt.Errorf("guest: ldd %s: %w", program, err)
		}
		for word := range strings.FieldsSeq(string(out)) {
			if strings.HasPrefix(word, "/") {
				files[word] = word
			}
		}
	}
	return nil
}

// pack makes a compressed cpio archive, in the format of the kernel's
// Documentation/driver-api/early-userspace/buffer-format.rst, of files of this
// host and of texts, both by the names that they have there.
func pack(files, texts map[string]string) ([]byte, error) {
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	a := archive{w: z, dirs: map[string]bool{"/": true}}
	a.dir("/dev", "/proc", "/sys", "/disk", "/tmp", "/bin")
	for name, from := range files {
		content, err := os.ReadFile(from)
		if err != nil {
			return nil, err
		}
		a.file(name, content)
	}
	for name, text := range texts {
		a.file(name, []byte(text))
	}
	a.entry("TRAILER!!!", 0, nil)
	if a.err != nil {
		return nil, a.err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

type archive struct {
	w    io.Writer
	dirs map[string]bool
	n    int
	err  error
}

const (
	isDir  = 0o040755
	isFile = 0o100755
)

func (a *archive) dir(names ...string) {
	for _, name := range names {
		if a.dirs[name] {
			continue
		}
		a.dirs[name] = true
		a.dir(path.Dir(name))
		a.entry(name[1:], isDir, nil)
	}
}

func (a *archive) file(name string, content []byte) {
	a.dir(path.Dir(name))
	a.entry(name[1:], isFile, content)
}

// entry writes one header, name and content, each padded to four bytes.
func (a *archive) entry(name string, mode uint32, content []byte) {
	if a.err != nil {
		return
	}
	a.n++
	head := fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%s\x00",
		a.n, mode, 0, 0, 1, 0, len(content), 0, 0, 0, 0, len(name)+1, 0, name)
	for _, part := range [][]byte{[]byte(head), content} {
		part = append(part, make([]byte, -len(part)&3)...)
		if _, err := a.w.Write(part); err != nil {
			a.err = err
		}
	}
}
