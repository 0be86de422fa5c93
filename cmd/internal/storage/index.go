package storage

import (
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/pflag"

	"tlog/player"
)

// Index is the --index of tools that look logs up by their indexes. An index is
// derived from its log: losing one costs the time to build it again.
type Index struct {
	// Dir is the directory of the indexes, a file for each vdisk. Empty: none is
	// kept, and what needs one builds it for itself.
	Dir string
	def string
}

// Register adds the flag to fs.
func (x *Index) Register(fs *pflag.FlagSet) {
	x.def = indexDir(os.UserCacheDir)
	fs.StringVar(&x.Dir, "index", x.def, "directory with the indexes of logs, which may be deleted at any time; empty: keep none")
}

// Open opens the index of a log and brings it up to date; progress may be nil.
// Where the default directory cannot be used, which nobody asked for, the index
// is built and not kept, and log is told.
func (x *Index) Open(ctx context.Context, l *player.Log, log *slog.Logger, progress func(player.Progress)) (*player.Index, error) {
	ix, err := l.OpenIndex(ctx, x.Dir, progress)
	var unusable *fs.PathError
	if x.Dir == "" || x.Dir != x.def || !errors.As(err, &unusable) {
		return ix, err
	}
	log.Warn("the index is not kept: name a directory with --index", "err", err)
	return l.OpenIndex(ctx, "", progress)
}

// indexDir is where indexes are kept by default: in the user's cache; a process
// without a home, as a daemon may be, has the system's.
func indexDir(userCache func() (string, error)) string {
	dir, err := userCache()
	if err != nil {
		dir = "/var/cache"
	}
	return filepath.Join(dir, "tlog")
}
