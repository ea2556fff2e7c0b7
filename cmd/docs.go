package cmd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"
)

// newDocsCmd writes the reference pages and man pages from the commands themselves; it is for releases, so it is hidden.
func newDocsCmd() *cobra.Command {
	var man, markdown string
	c := &cobra.Command{
		Use:     "docs",
		Hidden:  true,
		Short:   "Write the reference pages of every command",
		Long:    "Writes a Markdown page or a man page for each command into a folder.",
		Example: "  tenantctl docs --markdown docs/reference\n  tenantctl docs --man man",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			root := cmd.Root()
			if markdown != "" {
				if err := writePages(markdown, func(dir string) error {
					return doc.GenMarkdownTreeCustom(root, dir, func(string) string { return "" }, strings.ToLower)
				}); err != nil {
					return err
				}
			}
			if man == "" {
				return nil
			}
			// A fixed date keeps the pages the same from build to build.
			epoch := time.Unix(0, 0).UTC()
			return writePages(man, func(dir string) error {
				return doc.GenManTree(root, &doc.GenManHeader{Title: "TENANTCTL", Section: "1", Date: &epoch}, dir)
			})
		},
	}
	c.Flags().StringVar(&markdown, "markdown", "", "the folder for Markdown pages")
	c.Flags().StringVar(&man, "man", "", "the folder for man pages")
	return c
}

func writePages(dir string, write func(string) error) error {
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("write the pages: %w", err)
	}
	old, err := filepath.Glob(filepath.Join(dir, "tenantctl*"))
	if err != nil {
		return fmt.Errorf("write the pages: %w", err)
	}
	for _, f := range old {
		if err := os.Remove(f); err != nil {
			return fmt.Errorf("write the pages: %w", err)
		}
	}
	if err := write(dir); err != nil {
		return fmt.Errorf("write the pages: %w", err)
	}
	return nil
}
