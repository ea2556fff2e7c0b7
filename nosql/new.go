package nosql

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"github.com/tenantctl/tenantctl/tenant"
)

var newName = regexp.MustCompile(`^[a-z0-9]([a-z0-9_-]{0,98}[a-z0-9])?$`)

// firstNumber is how an empty folder begins.
const firstNumber = "00001"

// moment is how a version is written that is a time.
const moment = "20060102150405"

// New writes both sides of a migration, numbered as the folder is: the next number in the same width, or this moment
// where the newest is one.
func (r *Resource) New(name string, dryRun bool) ([]string, error) {
	name = strings.ReplaceAll(strings.ToLower(strings.TrimSpace(name)), " ", "_")
	if !newName.MatchString(name) {
		return nil, refused(tenant.ErrInvalid, "use up to 100 letters, digits, '_' and '-'", "invalid name of a migration %.120q", name)
	}
	number, err := r.nextNumber()
	if err != nil {
		return nil, err
	}
	if !dryRun {
		if err := os.MkdirAll(r.cfg.Dir, 0o777); err != nil {
			return nil, writeFailure(r.cfg.Dir, err)
		}
	}
	collection := strings.ReplaceAll(name, "-", "_")
	sides := []struct{ direction, content string }{
		{up, fmt.Sprintf("[\n  {\"create\": %q}\n]\n", collection)},
		{down, fmt.Sprintf("[\n  {\"drop\": %q}\n]\n", collection)},
	}
	var paths []string
	for _, s := range sides {
		path := filepath.Join(r.cfg.Dir, fmt.Sprintf("%s_%s.%s.json", number, name, s.direction))
		if dryRun {
			paths = append(paths, path)
			continue
		}
		if err := writeNew(path, s.content); err != nil {
			for _, p := range paths {
				err = errors.Join(err, os.Remove(p))
			}
			return nil, writeFailure(path, err)
		}
		paths = append(paths, path)
	}
	return paths, nil
}

// nextNumber looks at the names alone, so that a file that is broken does not stand in the way.
func (r *Resource) nextNumber() (string, error) {
	entries, err := os.ReadDir(r.cfg.Dir)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", refused(tenant.ErrInvalid, "check migrations.mongodb in the configuration", "read the folder of migrations %s: %s", r.cfg.Dir, innermost(err))
	}
	var newest int64
	width := len(firstNumber)
	for _, e := range entries {
		v, _, direction, _ := parseName(e.Name())
		if direction == "" || v < newest {
			continue
		}
		digits, _, _ := strings.Cut(e.Name(), "_")
		newest, width = v, len(digits)
	}
	if _, err := time.Parse(moment, fmt.Sprint(newest)); err == nil {
		if now := time.Now().UTC().Format(moment); now > fmt.Sprint(newest) {
			return now, nil
		}
	}
	if newest == 1<<63-1 {
		return "", refused(tenant.ErrInvalid, "renumber the newest file", "there is no number above version %d", newest)
	}
	return fmt.Sprintf("%0*d", width, newest+1), nil
}

// writeNew never writes over a file.
func writeNew(path, content string) (err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, f.Close()) }()
	_, err = f.WriteString(content)
	return err
}

func writeFailure(path string, err error) error {
	return refused(tenant.ErrInvalid, "check that the folder can be written to", "write %s: %s", path, innermost(err))
}
