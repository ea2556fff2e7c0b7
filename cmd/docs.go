package cmd

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/cobra/doc"

	"github.com/tenantctl/tenantctl/config"
)

// newDocsCmd writes the reference pages and man pages from the commands and the configuration themselves; it is for
// releases, so it is hidden.
func newDocsCmd() *cobra.Command {
	var man, markdown string
	c := &cobra.Command{
		Use:    "docs",
		Hidden: true,
		Short:  "Write the reference pages of the commands and the configuration",
		Long: `Writes a Markdown page or a man page for each command into a folder, and beside the Markdown pages one with
the keys of the configuration. Older pages of commands in the folder are removed.`,
		Example: "  tenantctl docs --markdown docs/reference\n  tenantctl docs --man man",
		Args:    noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			root := cmd.Root()
			eachCommand(root, plainFlags)
			if markdown != "" {
				if err := writePages(markdown, func(dir string) error {
					if err := os.WriteFile(filepath.Join(dir, "configuration.md"), []byte(configurationPage()), 0o644); err != nil {
						return err
					}
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
	c.Flags().StringVar(&markdown, "markdown", "", "the `folder` for Markdown pages")
	c.Flags().StringVar(&man, "man", "", "the `folder` for man pages")
	return c
}

func eachCommand(c *cobra.Command, do func(*cobra.Command)) {
	do(c)
	for _, child := range c.Commands() {
		eachCommand(child, do)
	}
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

// configurationPage is every key of the configuration, as Markdown.
func configurationPage() string {
	var b strings.Builder
	b.WriteString("# Configuration keys\n\nEvery key there is, in the order of `tenantctl.yaml.example`. How they are read: [configuration](../configuration.md).\n")
	for _, k := range config.Keys() {
		fmt.Fprintf(&b, "\n## %s\n\n%s\n\n", k.Name, k.Doc)
		fallback := "not set"
		if k.Default != "" {
			fallback = "`" + k.Default + "`"
		}
		fmt.Fprintf(&b, "- Value: %s\n- Default: %s\n- Environment: `%s`\n", k.Expects(), fallback, k.Env())
		if k.Flag != "" {
			fmt.Fprintf(&b, "- Flag: `--%s`\n", k.Flag)
		}
		if k.Secret {
			b.WriteString("- Secret: masked wherever it is shown\n")
		}
	}
	return b.String()
}
