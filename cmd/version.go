package cmd

import (
	"fmt"
	"io"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/tenantctl/tenantctl/tenant"
)

// Set by the release build; a plain go build gets them from the module's build information.
var (
	version = "dev"
	commit  = ""
	date    = ""
)

type versionDoc struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	Date    string `json:"date"`
	Go      string `json:"go"`
	Catalog int64  `json:"catalog"` // the version of the catalog that this program knows
}

func newVersionCmd(a *app) *cobra.Command {
	return &cobra.Command{
		Use:     "version",
		Short:   "Show the version, commit and build date",
		Long:    "Shows what this program was built from, and the version of the catalog it works with.",
		Example: "  tenantctl version\n  tenantctl version -o json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			doc, err := versionOf()
			if err != nil {
				return err
			}
			return a.print(doc, doc.Version, func(w io.Writer) {
				fmt.Fprintf(w, "tenantctl %s, commit %s, built %s with %s, catalog version %d\n", doc.Version, doc.Commit, doc.Date, doc.Go, doc.Catalog)
			})
		},
	}
}

func versionOf() (versionDoc, error) {
	doc := versionDoc{Version: version, Commit: commit, Date: date, Go: runtime.Version()}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			switch {
			case s.Key == "vcs.revision" && doc.Commit == "":
				doc.Commit = s.Value
			case s.Key == "vcs.time" && doc.Date == "":
				doc.Date = s.Value
			}
		}
	}
	if doc.Commit == "" {
		doc.Commit = "unknown"
	}
	if doc.Date == "" {
		doc.Date = "unknown"
	}
	var err error
	doc.Catalog, err = tenant.CatalogVersion()
	return doc, err
}
