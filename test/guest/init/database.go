package main

import (
	"bufio"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"os/exec"
	"strings"
)

// database is a sqlite3 that takes statements and answers.
type database struct {
	in  io.Writer
	out *bufio.Scanner
	n   int // the counter
}

// The tables. What is true after every transaction: rows has the counter's row
// as its last, and the balances of the accounts add up to what they began with.
const tables = `
PRAGMA journal_mode=WAL;
PRAGMA synchronous=FULL;
PRAGMA wal_autocheckpoint=60;
BEGIN;
CREATE TABLE IF NOT EXISTS counter(id INTEGER PRIMARY KEY CHECK(id=1), n INTEGER);
INSERT OR IGNORE INTO counter VALUES(1,0);
CREATE TABLE IF NOT EXISTS rows(n INTEGER PRIMARY KEY, data BLOB);
INSERT OR IGNORE INTO rows VALUES(0,NULL);
CREATE TABLE IF NOT EXISTS accounts(id INTEGER PRIMARY KEY, balance INTEGER);
WITH RECURSIVE c(i) AS (SELECT 0 UNION ALL SELECT i+1 FROM c WHERE i<99) INSERT OR IGNORE INTO accounts SELECT i,1000 FROM c;
COMMIT;
SELECT 'integrity ' || integrity_check FROM pragma_integrity_check;
SELECT 'at ' || n FROM counter;
`

// openDatabase opens, or makes, the database in dir, and says what it found.
func openDatabase(dir string) (*database, error) {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	_, missing := os.Stat(dir + "/disk.db")
	cmd := exec.Command("/bin/sqlite3", "-bail", dir+"/disk.db")
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	cmd.Stderr = os.Stdout
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	d := &database{in: in, out: bufio.NewScanner(out)}
	if _, err := io.WriteString(in, tables); err != nil {
		return nil, err
	}
	for _, want := range []string{"wal", "60", "integrity ok"} {
		if got, err := d.line(); err != nil || got != want {
			return nil, fmt.Errorf("sqlite3 said %q, want %q: %w", got, want, err)
		}
	}
	at, err := d.line()
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Sscanf(at, "at %d", &d.n); err != nil {
		return nil, fmt.Errorf("sqlite3 said %q: %w", at, err)
	}
	if missing == nil {
		say("resumed %d", d.n)
	}
	say("ready")
	return d, nil
}

// line is sqlite3's next one.
func (d *database) line() (string, error) {
	if d.out.Scan() {
		return d.out.Text(), nil
	}
	return "", fmt.Errorf("sqlite3 ended: %w", d.out.Err())
}

// run counts, a transaction each.
func (d *database) run() error {
	for {
		d.n++
		if _, err := io.WriteString(d.in, transaction(d.n)); err != nil {
			return fmt.Errorf("sqlite3: %w", err)
		}
		got, err := d.line()
		if err != nil {
			return err
		}
		if got != fmt.Sprintf("commit %d", d.n) {
			return fmt.Errorf("sqlite3 said %q after transaction %d", got, d.n)
		}
		say("%s", got)
	}
}

// transaction counts to n, adds a row, changes a few, and moves money.
func transaction(n int) string {
	var s strings.Builder
	fmt.Fprintf(&s, "BEGIN IMMEDIATE; UPDATE counter SET n=%d; INSERT INTO rows VALUES(%d,randomblob(%d));", n, n, 1+rand.IntN(6000))
	fmt.Fprintf(&s, "DELETE FROM rows WHERE n<=%d; UPDATE rows SET data=randomblob(%d) WHERE n>%d AND n%%5=%d;", n-150, 1+rand.IntN(3000), n-20, n%5)
	for range 1 + rand.IntN(6) {
		sum := 1 + rand.IntN(50)
		fmt.Fprintf(&s, "UPDATE accounts SET balance=balance-%d WHERE id=%d; UPDATE accounts SET balance=balance+%d WHERE id=%d;", sum, rand.IntN(100), sum, rand.IntN(100))
	}
	fmt.Fprintf(&s, "COMMIT; SELECT 'commit %d';\n", n)
	return s.String()
}
