package archive

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"iter"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"time"

	"gocloud.dev/blob/fileblob"

	"github.com/tenantctl/tenantctl/tenant"
)

// openFileURL reads file:///absolute and file://./relative.
func openFileURL(u *url.URL, patience time.Duration) (*store, error) {
	dir := u.Path
	switch u.Host {
	case ".":
		dir = "." + dir
	case "", "localhost":
	default:
		return nil, tenant.Invalid("write three slashes before an absolute path, file:///"+u.Host+u.Path, "file://%s names the server %s", u.Host+u.Path, u.Host)
	}
	if runtime.GOOS == "windows" {
		dir = strings.TrimPrefix(dir, "/")
	}
	q := u.Query()
	prefix := q.Get("prefix")
	q.Del("prefix")
	for option := range q {
		return nil, tenant.Invalid("remove it; the only option of file:// is prefix", "file:// has no option %.40s", option)
	}
	if dir == "" {
		return nil, tenant.Invalid(urlHint, "file:// names no folder")
	}
	return openFolder(filepath.Join(filepath.FromSlash(dir), filepath.FromSlash(path.Clean("/"+prefix))), patience)
}

// openFolder opens a folder of this machine, and makes it where the one it lies in is there.
func openFolder(dir string, patience time.Duration) (*store, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, fmt.Errorf("find the folder of backups: %w", err)
	}
	s := &store{scheme: fileblob.Scheme, dir: dir, silence: patience, name: "file://" + path.Join("/", filepath.ToSlash(dir))}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		if errors.Is(err, fs.ErrNotExist) {
			return nil, &tenant.Error{
				Kind: tenant.ErrMissing, Code: "no_folder", Store: storeName, Err: err,
				Msg: fmt.Sprintf("there is neither %s nor the folder it would lie in", dir), Hint: "make the folder, or correct the path; is something not mounted?",
			}
		}
		return nil, s.failure("make "+dir, err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return nil, s.failure("open "+dir, err)
	}
	if !info.IsDir() {
		return nil, tenant.Invalid("name a folder", "%s is not a folder", dir)
	}
	s.bucket, err = fileblob.OpenBucket(dir, &fileblob.Options{NoTempDir: true, Metadata: fileblob.MetadataDontWrite, DirFileMode: 0o700})
	if err != nil {
		return nil, s.failure("open "+dir, err)
	}
	return s, nil
}

// path is where a file lies. Keys are made of ids and fixed names alone, which every file system takes as they are.
func (s *store) path(key string) string { return filepath.Join(s.dir, filepath.FromSlash(key)) }

// walk is objects for a folder: the driver would read all of it anew for every page.
func (s *store) walk(ctx context.Context, prefix string) iter.Seq2[object, error] {
	return func(yield func(object, error) bool) {
		root := s.path(prefix)
		err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil // somebody else removed it meanwhile
			}
			if err != nil {
				return err
			}
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if d.IsDir() {
				return nil
			}
			info, err := d.Info()
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			rel, err := filepath.Rel(s.dir, p)
			if err != nil {
				return err
			}
			if !yield(object{filepath.ToSlash(rel), info.Size(), info.ModTime()}, nil) {
				return fs.SkipAll
			}
			return nil
		})
		if err != nil {
			yield(object{}, s.failure("list "+s.name, err))
		}
	}
}

// persist makes a file and the names that lead to it outlive a power cut.
func (s *store) persist(key string) error {
	if s.dir == "" {
		return nil
	}
	if err := syncFile(s.path(key), os.O_RDWR); err != nil {
		return err
	}
	if runtime.GOOS == "windows" {
		return nil // folders cannot be synced there
	}
	for dir := path.Dir(key); ; dir = path.Dir(dir) {
		// Some network file systems know no sync of a folder.
		if err := syncFile(s.path(dir), os.O_RDONLY); err != nil && !errors.Is(err, syscall.EINVAL) && !errors.Is(err, errors.ErrUnsupported) {
			return err
		}
		if dir == "." {
			return nil
		}
	}
}

func syncFile(name string, mode int) error {
	f, err := os.OpenFile(name, mode, 0)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}

// linkOnce is writeOnce for a folder: of all who link to one name, one succeeds.
func (s *store) linkOnce(key string, text []byte) error {
	name := s.path(key)
	err := os.MkdirAll(filepath.Dir(name), 0o700)
	if err != nil {
		return s.failure("write "+s.at(key), err)
	}
	f, err := os.CreateTemp(filepath.Dir(name), filepath.Base(name)+".*.tmp")
	if err != nil {
		return s.failure("write "+s.at(key), err)
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = os.Link(f.Name(), name)
	}
	if errors.Is(err, fs.ErrExist) {
		return errTaken
	}
	if err == nil {
		err = s.persist(key)
	}
	if err != nil {
		return s.failure("write "+s.at(key), err)
	}
	return nil
}

// prune removes folders that hold nothing any more, from dir upwards.
func (s *store) prune(dir string) {
	for ; s.dir != "" && dir != "."; dir = path.Dir(dir) {
		if os.Remove(s.path(dir)) != nil {
			return
		}
	}
}
