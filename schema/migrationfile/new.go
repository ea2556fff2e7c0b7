package migrationfile

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

var migrationName = regexp.MustCompile(`^[a-z0-9]+([_-][a-z0-9]+)*$`)

const (
	timestampFormat = "20060102150405" // as goose numbers by time
	sequenceWidth   = 5                // as goose numbers in sequence
)

const Template = `-- +goose Up

-- +goose Down
`

// New writes an empty migration after the newest one of a folder, numbered as the others are. It makes the folder where
// there is none.
func New(dir, name string, dryRun bool) ([]string, error) {
	name = strings.ToLower(name)
	if !migrationName.MatchString(name) || len(name) > 100 {
		return nil, refuse("use letters and digits with '_' between them, such as add_orders", "invalid migration name %.40q", name)
	}
	var l listing
	if _, err := os.Stat(dir); !errors.Is(err, fs.ErrNotExist) {
		if l, err = list(dir); err != nil {
			return nil, err
		}
	}
	path := filepath.Join(dir, NextNumber(l.sources, time.Now())+"_"+strings.ReplaceAll(name, "-", "_")+".sql")
	if dryRun {
		return []string{path}, nil
	}
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return nil, &tenant.Error{Kind: tenant.ErrInvalid, Store: tenant.KindPostgres, Msg: fmt.Sprintf("make migrations folder %s: %v", dir, Reason(err)), Err: err}
	}
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o666)
	if err == nil {
		_, err = f.WriteString(Template)
		if closing := f.Close(); err == nil {
			err = closing
		}
	}
	if err != nil {
		return nil, &tenant.Error{Kind: tenant.ErrInvalid, Store: tenant.KindPostgres, Msg: fmt.Sprintf("write %s: %v", path, Reason(err)), Err: err}
	}
	return []string{path}, nil
}

// NextNumber is the number after the newest: a time where that is one, else the next in sequence with as many digits.
func NextNumber(sources []Source, now time.Time) string {
	if len(sources) == 0 {
		return fmt.Sprintf("%0*d", sequenceWidth, 1)
	}
	last := sources[len(sources)-1]
	if last.Version < timestamps {
		digits, _, _ := strings.Cut(filepath.Base(last.path), "_")
		return fmt.Sprintf("%0*d", len(digits), last.Version+1)
	}
	if next := now.UTC().Format(timestampFormat); next > fmt.Sprint(last.Version) {
		return next
	}
	return fmt.Sprint(last.Version + 1)
}
