package sqlstore

import (
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"time"
)

// files are files of one folder, by name.
type files map[string]string

// Open implements [fs.FS].
func (f files) Open(name string) (fs.File, error) {
	if name == "." {
		return &folder{files: f}, nil
	}
	text, ok := f[name]
	if !ok || !fs.ValidPath(name) {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return &file{info: info{name: name, size: int64(len(text))}, Reader: strings.NewReader(text)}, nil
}

// ReadDir implements [fs.ReadDirFS].
func (f files) ReadDir(name string) ([]fs.DirEntry, error) {
	if name != "." {
		return nil, &fs.PathError{Op: "readdir", Path: name, Err: fs.ErrNotExist}
	}
	var out []fs.DirEntry
	for _, n := range slices.Sorted(maps.Keys(f)) {
		out = append(out, fs.FileInfoToDirEntry(info{name: n, size: int64(len(f[n]))}))
	}
	return out, nil
}

type file struct {
	info
	*strings.Reader
}

func (f *file) Stat() (fs.FileInfo, error) { return f.info, nil }
func (f *file) Size() int64                { return f.info.size }
func (f *file) Close() error               { return nil }

// folder is the root, which can be listed once.
type folder struct {
	files files
	at    int
}

func (d *folder) Stat() (fs.FileInfo, error) { return info{name: ".", dir: true}, nil }
func (d *folder) Read([]byte) (int, error) {
	return 0, &fs.PathError{Op: "read", Path: ".", Err: fs.ErrInvalid}
}
func (d *folder) Close() error { return nil }

// ReadDir implements [fs.ReadDirFile].
func (d *folder) ReadDir(n int) ([]fs.DirEntry, error) {
	all, err := d.files.ReadDir(".")
	if err != nil {
		return nil, err
	}
	all = all[d.at:]
	if n > 0 && len(all) == 0 {
		return nil, io.EOF
	}
	if n > 0 {
		all = all[:min(n, len(all))]
	}
	d.at += len(all)
	return all, nil
}

type info struct {
	name string
	size int64
	dir  bool
}

func (i info) Name() string       { return i.name }
func (i info) Size() int64        { return i.size }
func (i info) ModTime() time.Time { return time.Time{} }
func (i info) IsDir() bool        { return i.dir }
func (i info) Sys() any           { return nil }

func (i info) Mode() fs.FileMode {
	if i.dir {
		return fs.ModeDir | 0o555
	}
	return 0o444
}
