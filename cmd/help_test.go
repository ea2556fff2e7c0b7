package cmd

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// program is the whole command tree, as a person meets it.
func program() *cobra.Command {
	root := newRootCmd(newApp(strings.NewReader(""), io.Discard, io.Discard))
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd()
	return root
}

func TestEveryCommandExplainsItselfWithAnExample(t *testing.T) {
	var visit func(c *cobra.Command)
	visit = func(c *cobra.Command) {
		switch c.Name() {
		case "help", "completion":
			return // cobra's own
		}
		t.Run(strings.ReplaceAll(c.CommandPath(), " ", "_"), func(t *testing.T) {
			if c.Short == "" || c.Long == "" || c.Example == "" {
				t.Fatalf("short %q, long %q, example %q: none of them may be empty", c.Short, c.Long, c.Example)
			}
			if strings.HasSuffix(c.Short, ".") || c.Short[:1] != strings.ToUpper(c.Short[:1]) {
				t.Errorf("short %q: it begins with a capital letter and has no full stop", c.Short)
			}
			mine := false
			for line := range strings.Lines(c.Example) {
				words := strings.Fields(line)
				found := checkLine(t, c.Root(), strings.TrimSpace(line))
				mine = mine || found == c || c.HasSubCommands() && found != nil && found.Parent() == c
				if len(words) == 0 || words[0] != "tenantctl" {
					t.Errorf("example line %q does not begin with tenantctl", line)
				}
			}
			if !mine {
				t.Errorf("no example is of this command:\n%s", c.Example)
			}
		})
		for _, child := range c.Commands() {
			visit(child)
		}
	}
	visit(program())
}

// checkLine fails where a command line names a command or a flag that there is none of, and gives the command.
func checkLine(t *testing.T, root *cobra.Command, line string) *cobra.Command {
	t.Helper()
	words := strings.Fields(line)
	c, rest, err := root.Find(words[1:])
	if err != nil {
		t.Errorf("%s: %v", line, err)
		return nil
	}
	if c.HasSubCommands() && len(rest) > 0 && !c.Runnable() || c == root && len(rest) > 0 && !strings.HasPrefix(rest[0], "-") {
		t.Errorf("%s: there is no such command", line)
	}
	c.InitDefaultHelpFlag()
	for _, w := range rest {
		if w == "--" || strings.HasPrefix(w, "#") || strings.HasPrefix(w, "'") || w == ">" || w == "|" {
			break
		}
		name, _, _ := strings.Cut(strings.Trim(w, "[]"), "=")
		switch {
		case strings.HasPrefix(name, "--"):
			if c.Flags().Lookup(name[2:]) == nil && c.InheritedFlags().Lookup(name[2:]) == nil {
				t.Errorf("%s: %s has no flag %s", line, c.CommandPath(), name)
			}
		case strings.HasPrefix(name, "-"):
			if c.Flags().ShorthandLookup(name[1:]) == nil && c.InheritedFlags().ShorthandLookup(name[1:]) == nil {
				t.Errorf("%s: %s has no flag %s", line, c.CommandPath(), name)
			}
		}
	}
	return c
}

// pages are the documents written by hand.
func pages(t *testing.T) map[string]string {
	t.Helper()
	paths := []string{"../README.md", "../CONTRIBUTING.md", "../CHANGELOG.md"}
	more, err := filepath.Glob("../docs/*.md")
	if err != nil || len(more) == 0 {
		t.Fatalf("no pages in docs (%v)", err)
	}
	texts := map[string]string{}
	for _, p := range append(paths, more...) {
		b, err := os.ReadFile(p)
		if err != nil {
			t.Fatal(err)
		}
		texts[p] = string(b)
	}
	return texts
}

var (
	shownCommand  = regexp.MustCompile("(?m)^(?:\\$ |- run: )?(tenantctl .*)$|`(tenantctl [^`]+)`")
	relativeLink  = regexp.MustCompile(`\]\(([^):#]*)(#[^)]*)?\)`)
	heading       = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notInAnAnchor = regexp.MustCompile("[^a-z0-9 _-]")
)

func TestDocumentationShowsOnlyCommandsThatExist(t *testing.T) {
	root := program()
	lines := 0
	for path, text := range pages(t) {
		for _, m := range shownCommand.FindAllStringSubmatch(text, -1) {
			line := m[1] + m[2]
			if strings.HasPrefix(line, "tenantctl dev, ") {
				continue // what version prints
			}
			lines++
			t.Run(filepath.Base(path), func(t *testing.T) { checkLine(t, root, strings.ReplaceAll(line, "\n", " ")) })
		}
	}
	if lines < 50 {
		t.Errorf("only %d command lines were found in the pages", lines)
	}
}

func TestDocumentationLinksLeadSomewhere(t *testing.T) {
	for path, text := range pages(t) {
		for _, m := range relativeLink.FindAllStringSubmatch(text, -1) {
			target := path
			if m[1] != "" {
				target = filepath.Join(filepath.Dir(path), m[1])
			}
			content, err := os.ReadFile(target)
			if info, statErr := os.Stat(target); statErr == nil && info.IsDir() && m[2] == "" {
				continue
			}
			if err != nil {
				t.Errorf("%s links to %s, which is not there", path, m[1])
				continue
			}
			if m[2] != "" && !hasAnchor(string(content), m[2][1:]) {
				t.Errorf("%s links to %s%s, but there is no such heading", path, m[1], m[2])
			}
		}
	}
}

// hasAnchor tells whether a page has a heading that GitHub gives that anchor.
func hasAnchor(text, anchor string) bool {
	for _, h := range heading.FindAllStringSubmatch(text, -1) {
		id := notInAnAnchor.ReplaceAllString(strings.ToLower(h[1]), "")
		if strings.ReplaceAll(id, " ", "-") == anchor {
			return true
		}
	}
	return false
}
