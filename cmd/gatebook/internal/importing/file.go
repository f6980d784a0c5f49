package importing

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"sync/atomic"

	"github.com/gatebook/gatebook/cmd/gatebook/internal/userfile"
)

// File is a source in a file.
type File struct {
	path    string
	format  string
	options userfile.Options
	f       *os.File
	size    int64
	done    atomic.Int64
}

// OpenFile opens a file of users. Close it.
func OpenFile(path string, o userfile.Options) (*File, error) {
	format := userfile.Format(path)
	if format == "" {
		return nil, fmt.Errorf("%s: its name must end in .csv, .json or .ndjson, which says what it holds", path)
	}
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	info, err := f.Stat()
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s is no file", path)
	}
	if err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return &File{path: path, format: format, options: o, f: f, size: info.Size()}, nil
}

// Close closes the file.
func (f *File) Close() error { return f.f.Close() }

// Name returns the path.
func (f *File) Name() string { return f.path }

// markBytes is how much of the beginning of a file stands for the whole of it,
// together with its size.
const markBytes = 1 << 20

// Mark returns a digest of the size and the beginning of the file.
func (f *File) Mark() (string, error) {
	h := sha256.New()
	h.Write(fmt.Appendf(nil, "%s %d\n", f.format, f.size))
	if _, err := io.Copy(h, io.NewSectionReader(f.f, 0, markBytes)); err != nil {
		return "", fmt.Errorf("read %s: %w", f.path, err)
	}
	return hex.EncodeToString(h.Sum(nil)), nil
}

// Users returns the users after the first ones.
func (f *File) Users(_ context.Context, from Position) iter.Seq2[userfile.Row, error] {
	return func(yield func(userfile.Row, error) bool) {
		if _, err := f.f.Seek(0, io.SeekStart); err != nil {
			yield(userfile.Row{}, err)
			return
		}
		var n int64
		for row, err := range userfile.Read(io.TeeReader(f.f, counter{&f.done}), f.format, f.options) {
			if n++; err == nil && n <= from.Users {
				continue
			}
			if !yield(row, err) {
				return
			}
		}
	}
}

type counter struct{ n *atomic.Int64 }

// Write counts.
func (c counter) Write(p []byte) (int, error) { c.n.Add(int64(len(p))); return len(p), nil }

// Progress returns bytes.
func (f *File) Progress() (done, total int64) { return f.done.Load(), f.size }

// Place returns the path and the line, and for JSON which user it is.
func (f *File) Place(row *userfile.Row) string {
	if row.Number > 0 {
		return fmt.Sprintf("%s:%d: user %d", f.path, row.Line, row.Number)
	}
	return fmt.Sprintf("%s:%d", f.path, row.Line)
}
