package cmd

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

type exportOptions struct {
	format, to string
	dryRun     bool
}

func newExportCmd(a *app) *cobra.Command {
	var o exportOptions
	c := &cobra.Command{
		Use:   "export NAME",
		Short: "Write a tenant's data for the tenant",
		Long: `Writes everything that a tenant has, for the tenant itself (data portability): a file for each table and collection, as
CSV or as one JSON document a line, and data-dictionary.json, which describes every file and field. The folder must
not exist yet, or be empty; it is complete once it is there.

` + exitHelp,
		Example:           "  tenantctl export acme --format csv --to acme-export\n  tenantctl export acme --format ndjson --to /srv/exports/acme",
		Args:              oneName,
		ValidArgsFunction: a.completeNames,
		RunE:              func(cmd *cobra.Command, args []string) error { return runExport(cmd, a, o, args[0]) },
	}
	f := c.Flags()
	f.StringVar(&o.format, "format", "", "csv or ndjson")
	f.StringVar(&o.to, "to", "", "the `folder` to write into (default NAME-export)")
	addDryRun(c, &o.dryRun)
	return c
}

// exportDoc is what was exported; the data dictionary holds the same.
type exportDoc struct {
	Tenant    tenant.Name       `json:"tenant"`
	CreatedAt time.Time         `json:"created_at"`
	Format    string            `json:"format"`
	Folder    string            `json:"folder,omitempty"`
	Files     []tenant.Exported `json:"files"`
}

func runExport(cmd *cobra.Command, a *app, o exportOptions, name string) error {
	switch o.format {
	case tenant.FormatCSV, tenant.FormatNDJSON:
	case "":
		return tenant.Invalid("add --format csv or --format ndjson", "export needs a format")
	default:
		return tenant.Invalid("use one of: csv, ndjson", "unknown format %q", o.format)
	}
	if o.to == "" {
		o.to = name + "-export"
	}
	if err := emptyFolder(o.to); err != nil {
		return err
	}
	s, err := a.service(cmd.Context())
	if err != nil {
		return err
	}
	if o.dryRun {
		d, err := s.Inventory(cmd.Context(), tenant.Name(name))
		if err != nil {
			return err
		}
		return a.printPlan(d.Tenant, "export %s as %s into %s: %s", name, o.format, o.to, holdings(d))
	}
	dir, err := os.MkdirTemp(filepath.Dir(filepath.Clean(o.to)), ".export-*")
	if err != nil {
		return &tenant.Error{Msg: fmt.Sprintf("make the folder %s: %v", o.to, errors.Unwrap(err)), Hint: "choose another with --to", Err: err}
	}
	defer os.RemoveAll(dir)
	files, err := s.Export(cmd.Context(), tenant.Name(name), o.format, func(name string) (io.WriteCloser, error) {
		path := filepath.Join(dir, filepath.FromSlash(name))
		err := os.MkdirAll(filepath.Dir(path), 0o700)
		var f *os.File
		if err == nil {
			f, err = os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
		}
		return exportFile{f, name}, unwritten(name, err)
	})
	if err != nil {
		return err
	}
	doc := exportDoc{Tenant: tenant.Name(name), CreatedAt: time.Now().UTC(), Format: o.format, Files: files}
	if err := writeDictionary(filepath.Join(dir, "data-dictionary.json"), doc); err != nil {
		return err
	}
	// An empty folder that is there already is replaced.
	if err := os.Remove(o.to); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("replace the empty folder: %w", err)
	}
	if err := os.Chmod(dir, 0o755); err != nil {
		return fmt.Errorf("finish the export: %w", err)
	}
	if err := os.Rename(dir, o.to); err != nil {
		return fmt.Errorf("finish the export: %w", err)
	}
	doc.Folder = o.to
	return a.print(doc, o.to, func(w io.Writer) {
		var rows int64
		for _, f := range files {
			rows += f.Rows
		}
		fmt.Fprintf(w, "%s: exported %s with %s into %s\n", name, tenant.Plural(len(files), "file"), tenant.Plural(int(rows), "row"), o.to)
	})
}

// exportFile is a file of an export whose errors say which one it is.
type exportFile struct {
	*os.File
	name string
}

func (f exportFile) Write(p []byte) (int, error) {
	n, err := f.File.Write(p)
	return n, unwritten(f.name, err)
}

func (f exportFile) Close() error { return unwritten(f.name, f.File.Close()) }

// unwritten is the error of a file that cannot be written, without the temporary folder that it lies in.
func unwritten(name string, err error) error {
	if err == nil {
		return nil
	}
	var path *fs.PathError
	if errors.As(err, &path) {
		err = path.Err
	}
	return &tenant.Error{Msg: fmt.Sprintf("write %s: %v", name, err), Hint: "make room and the folder writable, or choose another with --to", Err: err}
}

// emptyFolder refuses a place that holds something already.
func emptyFolder(dir string) error {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case err != nil:
		return tenant.Invalid("choose another with --to", "%s is no folder that can be written into", dir)
	case len(entries) > 0:
		return tenant.Invalid("choose another with --to", "folder %s is not empty", dir)
	}
	return nil
}

func writeDictionary(path string, doc exportDoc) error {
	b, err := json.MarshalIndent(doc, "", "  ")
	if err == nil {
		err = os.WriteFile(path, append(b, '\n'), 0o600)
	}
	return unwritten(filepath.Base(path), err)
}
