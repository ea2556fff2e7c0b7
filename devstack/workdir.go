package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/gofrs/flock"
)

const (
	workdirPrefix = "tenantctl-devstack-"
	lockSuffix    = ".lock"
)

// workdir is the temporary folder of one stack. The lock file beside it is held for the life of the process, so that
// a folder whose lock is free belongs to a devstack that was killed.
type workdir struct {
	path string
	lock *flock.Flock
}

// createWorkdir makes a folder that owner can enter, after removing those of killed devstacks.
func createWorkdir(owner *account) (*workdir, error) {
	base, err := temporaryBase(owner)
	if err != nil {
		return nil, err
	}
	removeLeftovers(base)

	// The lock is held before the folder appears: a sweep by another devstack never sees the one without the other.
	f, err := os.CreateTemp(base, fmt.Sprintf("%s%d-*%s", workdirPrefix, os.Getpid(), lockSuffix))
	if err != nil {
		return nil, err
	}
	w := &workdir{path: strings.TrimSuffix(f.Name(), lockSuffix), lock: flock.New(f.Name())}
	err = f.Close()
	if err == nil {
		err = w.lock.Lock()
	}
	if err == nil {
		err = os.Mkdir(w.path, 0o700)
	}
	if err == nil {
		// Others may pass through, not look: the servers' own folders inside are closed.
		err = os.Chmod(w.path, 0o711)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("make a temporary folder: %w", err), w.remove())
	}
	return w, nil
}

// remove deletes the folder and gives up the lock, in this order.
func (w *workdir) remove() error {
	var err error
	// A server that was just killed may write for a moment longer, which lets a removal fail.
	for range 50 {
		if err = os.RemoveAll(w.path); err == nil || errors.Is(err, fs.ErrPermission) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		_ = w.lock.Close()
		return fmt.Errorf("remove the temporary folder: %w", err)
	}
	// Windows does not remove open files, the others are safe either way: the folder is gone.
	_ = w.lock.Close()
	return os.Remove(w.lock.Path())
}

// removeLeftovers deletes what killed devstacks left in base. What cannot be removed now (another user's, or one whose
// server is still dying) is left to the next start.
func removeLeftovers(base string) {
	dirs, err := filepath.Glob(filepath.Join(base, workdirPrefix+"*"))
	if err != nil {
		return
	}
	for _, dir := range dirs {
		if info, err := os.Lstat(dir); err != nil || !info.IsDir() {
			continue
		}
		lock := flock.New(dir + lockSuffix)
		if free, err := lock.TryLock(); err != nil || !free {
			_ = lock.Close()
			continue
		}
		_ = (&workdir{path: dir, lock: lock}).remove()
	}
}

// temporaryBase returns the temporary folder of the system, or /tmp where that one cannot hold a stack.
func temporaryBase(owner *account) (string, error) {
	base, err := filepath.Abs(os.TempDir())
	if err != nil {
		return "", err
	}
	unfit := whyUnfit(base, owner)
	if unfit != nil && whyUnfit("/tmp", owner) == nil {
		return "/tmp", nil
	}
	return base, unfit
}

// whyUnfit says why no stack can live under base, nil where one can.
func whyUnfit(base string, owner *account) error {
	// FerretDB hands its path to SQLite unquoted, in a URI where these have a meaning.
	if strings.ContainsAny(base, "%?#") {
		return fmt.Errorf("the temporary folder %s has a %%, ? or # in its path: set TMPDIR to one without", base)
	}
	if owner != nil && !openToAll(base) {
		return fmt.Errorf("user %s, as whom PostgreSQL runs, cannot enter the temporary folder %s: set TMPDIR to one that it can enter", owner.name, base)
	}
	return nil
}

// openToAll tells whether any user can enter dir, which needs every folder above it too.
func openToAll(dir string) bool {
	for {
		info, err := os.Stat(dir)
		if err != nil || info.Mode().Perm()&0o001 == 0 {
			return false
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return true
		}
		dir = parent
	}
}
