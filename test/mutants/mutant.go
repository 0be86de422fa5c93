package main

// mutant is one wrong change, and who is to catch it.
type mutant struct {
	name  string
	file  string
	old   string // occurs once in the file, or the mutant no longer applies
	wrong string
	layer string // what catches it, for people
	pkg   string // the package of the tests, and which of them
	tests string
}

// The layers that catch.
const (
	core    = "a core's own tests"
	shell   = "the tests of a package"
	suite   = "the conformance suite of shard servers"
	checker = "the model checker"
)

var mutants = []mutant{
	{"acknowledge before quorum", "internal/core/appending/machine.go",
		"p.distinct >= m.cfg.W", "p.distinct >= m.cfg.W-1", checker, "./internal/modelcheck", "."},
	{"accept everysec", "stor/redis/admission.go",
		`fsync := []string{"always"}`, `fsync := []string{"always", "everysec"}`, shell, "./stor/redis", "Admi|Durab|Setting|Unfit"},
	{"no epoch check in append", "stor/redis/scripts.go",
		"if c[1] ~= ARGV[3] or c[2] ~= ARGV[4] then return 'FENCED '", "if c[1] and c[1] > ARGV[3] and false then return 'FENCED '", suite, "./stor/memory", "."},
	{"read-then-write fence", "stor/redis/scripts.go",
		"if epoch > ARGV[3] or (epoch == ARGV[3] and owner ~= ARGV[4]) then return 'FENCED '", "if false then return 'FENCED '", suite, "./stor/memory", "."},
	{"answer before barrier", "internal/core/session/attach.go",
		"p != nil && p.durable && m.done == m.head.Last", "p != nil", core, "./internal/core/session", "."},
	{"corrupt = absent", "internal/core/takeover/decide.go",
		"m.end(Halt{ReasonDamaged, m.at, have, m.cfg.K, m.everyone()})", "m.absent()", core, "./internal/core/takeover", "."},
	{"amnesiac votes", "stor/search.go",
		"s.stillThere(ctx, server, a.Server); changed != nil {", "s.stillThere(ctx, server, a.Server); changed != nil && false {", shell, "./stor", "Amnesia|WhoLost"},
	{"chain ignored at adopt", "internal/core/takeover/decide.go",
		"c.prevSet && c.prev != m.prev && m.chained()", "false", core, "./internal/core/takeover", "."},
	{"index renumbered", "stor/redis/scripts.go",
		"index, take = string.sub(meta, 87, 89), false", "take = false", suite, "./stor/memory", "."},
	{"replies counted instead of indices", "internal/core/appending/position.go",
		"if p.holders[index]++; p.holders[index] == 1 {", "if p.holders[index]++; p.holders[index] > 0 {", core, "./internal/core/appending", "."},
	{"off by one when flushed records leave the window", "internal/core/window/append.go",
		"to := w.flushed.Sequence\n\tif w.writing", "to := min(w.flushed.Sequence+1, w.head.Sequence)\n\tif w.writing", core, "./internal/core/window", "."},
	{"acknowledgements of an old connection on the new", "internal/core/window/answer.go",
		"e.Attempt != w.attempt || w.phase != phaseAttached", "w.phase != phaseAttached", core, "./internal/core/window", "."},
	{"reload drops an open aggregation", "internal/core/collect/machine.go",
		"m.closing = true\n\t\tm.forced = len(m.items)", "m.closing = true\n\t\tm.items, m.records, m.bytes = nil, 0, 0", core, "./internal/core/collect", "."},
	{"A, B, A with a stale head", "internal/core/session/attach.go",
		"case e.Head.Generation > known && !m.dead:", "case e.Head.Generation > known && false:", core, "./internal/core/session", "."},
	{"gap accepted", "internal/core/session/batch.go",
		"first > m.head.Last+1", "first > m.head.Last+2", core, "./internal/core/session", "."},
	{"duplicate with other content accepted", "internal/core/session/batch.go",
		"k != nil && tlog.ChainNext(m.past.chainAt(r.Sequence-1), r) != k.chain", "k != nil && false", core, "./internal/core/session", "."},
	{"position missing from the AAD", "crypto/header.go",
		"dst = le.AppendUint64(dst, uint64(h.Position))", "dst = le.AppendUint64(dst, 0)", shell, "./crypto", "."},
	{"salt reused", "crypto/seal.go",
		"io.ReadFull(random, p.salt[:])", "io.ReadFull(random, p.salt[:0])", shell, "./crypto", "."},
	{"truncated tail accepted with a witness at hand", "internal/core/window/attach.go",
		"case p.Sequence < w.flushed.Sequence:", "case false:", core, "./internal/core/window", "."},
	{"record data used after its message was released", "aggregate/job.go",
		"\t\tplain = append(plain, j.items[i].batch.Frame...)\n\t}\n\tfor i := range j.items {\n\t\tj.items[i].release()",
		"\t\tj.items[i].release()\n\t\tplain = append(plain, j.items[i].batch.Frame...)", shell, "./aggregate", "TestAnyBatching"},
	// Without any bound the test takes all memory of the machine.
	{"unbounded queue of acknowledgements", "server/outbox.go",
		"(o.paused || len(o.queue) >= outboxLimit)", "(o.paused || len(o.queue) >= 8*outboxLimit)", shell, "./server", "TestOutbox|TestClientThatNeverReads"},
	{"SIGTERM without final flush", "server/owner.go",
		"err := o.pipe.Close(ctx)\n\to.end()", "o.log.Close()\n\terr := o.pipe.Close(ctx)\n\to.end()", shell, "./server", "TestShutdown|TestVersion2Session|TestClientLibrary"},
	{"clock step stored", "internal/core/window/append.go",
		"w.lastTS = max(w.lastTS, now)", "w.lastTS = now", core, "./internal/core/window", "."},
	{"player ignores an error", "player/replay.go",
		"if it.err != nil {\n\t\t\treturn it.err\n\t\t}\n\t\tif err := chain.add", "if it.err != nil {\n\t\t\tbreak\n\t\t}\n\t\tif err := chain.add", shell, "./player", "TestReplay"},
	{"an epoch believed of one message", "internal/core/window/answer.go",
		"if e == w.welcome.Epoch {", "if e >= w.welcome.Epoch {", core, "./internal/core/window", "Epoch"},
	{"a damaged surplus shard is left", "internal/core/repair/plan.go",
		"return sh.Index, sh.Index >= 0 && sh.Index < b.m.cfg.N", "return sh.Index, false", core, "./internal/core/repair", "."},
	{"a group's time is raised", "internal/core/window/append.go",
		"e.Record.Group == 0 || e.Now >= w.lastTS", "true", core, "./internal/core/window", "TestGroup"},
	{"a group's time is drawn too late", "vdisk/disk.go",
		"at := d.draw()\n\td.gather()", "d.gather()\n\tat := d.draw()", shell, "./vdisk", "TestDrawThenGather"},
	{"a group is cut where a log may lack records", "player/cut.go",
		"return a.stamp == b.stamp || a.stamp == b.stamp.Closed()", "return true", shell, "./player", "TestCut"},
	{"two clocks of a group are taken for one", "player/cut.go",
		"uint64(made.UnixNano()) <= in.time", "made.IsZero()", shell, "./player", "TestCut"},
	{"a damaged claim is left", "internal/core/repair/machine.go",
		"m.cfg.Deep || bad ||", "m.cfg.Deep ||", core, "./internal/core/repair", "."},
	{"a meta that is none hides the others", "stor/page.go",
		"return a.err == nil || len(a.bad) > 0", "return a.err == nil", shell, "./stor", "Damaged|Repair"},
	{"a change of the manifest that was cut short is left", "stor/replace.go",
		"if next == nil || holders(answers, next) == 0 {", "if true {", shell, "./stor", "CutShort"},
	{"contents of another state of a segment are believed", "stor/file/sealed.go",
		"return ok && h.lsn == lsn && sum == c.sums[end]", "return ok && h.lsn == lsn && (true || sum == c.sums[end])", shell, "./stor/file", "Test.*Contents|TestSegmentDamaged"},
	{"contents of a segment that will be written are left", "stor/file/sealed.go",
		"if name != newContents && contentsNumber(name) < int64(active) {", "if name != newContents {", shell, "./stor/file", "Test.*Contents|TestSegmentDamaged"},
}
