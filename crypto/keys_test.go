package crypto_test

import (
	"bytes"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"tlog"
	"tlog/crypto"
)

func testRing(t testing.TB, seed byte) *crypto.Keyring {
	t.Helper()
	ring, err := crypto.KeyringFromSeed(fixedRandom(seed))
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func TestKeyFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "key")
	made, err := crypto.CreateKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	st, err := os.Stat(path)
	if err != nil || st.Mode() != 0o600 {
		t.Fatalf("mode %v, %v; want 0600", st.Mode(), err)
	}
	if _, err := crypto.CreateKeyFile(path); !errors.Is(err, fs.ErrExist) {
		t.Errorf("created over an existing file: %v", err)
	}
	read, err := crypto.LoadKeyFile(path)
	if err != nil {
		t.Fatal(err)
	}
	key, wrapped, err := made.NewDataKey(vdiskA)
	if err != nil {
		t.Fatal(err)
	}
	got, err := read.Unwrap(vdiskA, key.ID, wrapped)
	if err != nil || *got != *key {
		t.Errorf("unwrapped %v, %v; want %v", got, err, key)
	}
}

func TestKeyFileRefused(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "key")
	if _, err := crypto.CreateKeyFile(path); err != nil {
		t.Fatal(err)
	}
	for _, mode := range []fs.FileMode{0o640, 0o604, 0o660, 0o610} {
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		if _, err := crypto.LoadKeyFile(path); err == nil || !strings.Contains(err.Error(), "chmod 600 "+path) {
			t.Errorf("mode %04o: %v", mode, err)
		}
	}
	fifo := filepath.Join(dir, "fifo")
	if err := syscall.Mkfifo(fifo, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, p := range []string{fifo, dir} {
		if _, err := crypto.LoadKeyFile(p); err == nil || !strings.Contains(err.Error(), "not a regular file") {
			t.Errorf("%s: %v", p, err)
		}
	}
	if _, err := crypto.LoadKeyFile(filepath.Join(dir, "none")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
}

func TestParseKeyFile(t *testing.T) {
	text := string(crypto.FormatKeyFile(crypto.Join(testRing(t, 1), testRing(t, 2))))
	lines := strings.Split(strings.TrimSpace(text), "\n")
	first := lines[len(lines)-2]
	for _, c := range []struct{ name, text, want string }{
		{"as written", text, ""},
		{"CR LF, spaces, comments", strings.ReplaceAll(text, "\n", " \r\n\n # x\n"), ""},
		{"empty", "", "interrupted"},
		{"other file", "hello\n", "does not begin"},
		{"no version", "tlog key file x\n", "no version"},
		{"newer", "tlog key file 2\n", "newer tlog"},
		{"no key", "tlog key file 1\n", "holds no key"},
		{"twice", text + first + "\n", "twice"},
		{"cut", text[:len(text)-9], "not of the form"},
		{"changed secret", text[:len(text)-2] + "z\n", "not hexadecimal"},
		{"changed digit", flipLastDigit(text), "does not fit its id"},
		{"long", text + strings.Repeat("#\n", 40<<10), "longer"},
	} {
		_, err := crypto.ParseKeyFile([]byte(c.text))
		if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
		secret := first[len(first)-64:]
		if err != nil && strings.Contains(err.Error(), secret[:16]) {
			t.Errorf("%s: the error shows the key", c.name)
		}
	}
	if _, err := crypto.ParseKeyFile([]byte("tlog key file 2\n")); !errors.Is(err, crypto.ErrVersion) {
		t.Errorf("newer: %v", err)
	}
}

func flipLastDigit(text string) string {
	b := []byte(text)
	c := &b[len(b)-2]
	if *c == '0' {
		*c = '1'
	} else {
		*c = '0'
	}
	return string(b)
}

func TestUnwrap(t *testing.T) {
	old, current := testRing(t, 1), testRing(t, 2)
	key, wrapped, err := old.WrapFrom(vdiskA, fixedRandom(3))
	if err != nil {
		t.Fatal(err)
	}
	if got, err := crypto.Join(current, old).Unwrap(vdiskA, key.ID, wrapped); err != nil || *got != *key {
		t.Errorf("with the old key in second place: %v, %v", got, err)
	}
	if _, err := current.Unwrap(vdiskA, key.ID, wrapped); !errors.Is(err, crypto.ErrWrongKey) || tlog.ClassOf(err) == tlog.Corrupt {
		t.Errorf("without the key: %v", err)
	}
	for name, err := range map[string]error{
		"other vdisk": second(old.Unwrap(tlog.UUID{1}, key.ID, wrapped)),
		"other id":    second(old.Unwrap(vdiskA, key.ID+1, wrapped)),
		"cut":         second(old.Unwrap(vdiskA, key.ID, wrapped[:len(wrapped)-1])),
		"empty":       second(old.Unwrap(vdiskA, key.ID, nil)),
		"version 0":   second(old.Unwrap(vdiskA, key.ID, append([]byte{0}, wrapped[1:]...))),
	} {
		if tlog.ClassOf(err) != tlog.Corrupt {
			t.Errorf("%s: %v, want class corrupt", name, err)
		}
	}
	if _, err := old.Unwrap(vdiskA, key.ID, append([]byte{2}, wrapped[1:]...)); !errors.Is(err, crypto.ErrVersion) {
		t.Errorf("newer: %v", err)
	}
	for bit := 8; bit < 8*len(wrapped); bit++ {
		changed := bytes.Clone(wrapped)
		changed[bit/8] ^= 1 << (bit % 8)
		if _, err := old.Unwrap(vdiskA, key.ID, changed); err == nil {
			t.Fatalf("bit %d: unwrapped", bit)
		}
	}
}

// No way of printing shows a secret.
func TestRedacted(t *testing.T) {
	ring := testRing(t, 1)
	key, _, err := ring.WrapFrom(vdiskA, fixedRandom(3))
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	log := slog.New(slog.NewTextHandler(&out, nil))
	json := slog.New(slog.NewJSONHandler(&out, nil))
	for _, v := range []any{ring, *ring, key, *key, []any{key, ring}, map[string]any{"k": *key}, struct{ K *crypto.DataKey }{key}} {
		for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%X"} {
			fmt.Fprintf(&out, verb+"\n", v)
		}
		log.Info("x", "v", v)
		json.Info("x", "v", v)
	}
	text := string(crypto.FormatKeyFile(ring))
	kek, err := hex.DecodeString(strings.TrimSpace(text)[len(strings.TrimSpace(text))-64:])
	if err != nil {
		t.Fatal(err)
	}
	dataKey := make([]byte, 32)
	if _, err := fixedRandom(3).Read(dataKey); err != nil {
		t.Fatal(err)
	}
	for _, secret := range [][]byte{kek, dataKey} {
		for _, form := range []string{"%x", "%X", "%d", "%#v"} {
			s := strings.Trim(fmt.Sprintf(form, secret[:6]), "[]byte{}")
			if strings.Contains(out.String(), s) {
				t.Errorf("%s of a secret is shown", form)
			}
		}
		if bytes.Contains(out.Bytes(), secret[:4]) {
			t.Error("raw bytes of a secret are shown")
		}
	}
}
