package cmd

import (
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

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
		if c.IsAdditionalHelpTopicCommand() {
			return // a page of help, which is not run
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
				if !strings.HasPrefix(line, "  tenantctl ") {
					t.Fatalf("example line %q does not begin with tenantctl, indented by two spaces", line)
				}
				path := checkLine(t, line)
				mine = mine || path == c.CommandPath() || c.HasSubCommands() && strings.HasPrefix(path, c.CommandPath())
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

func TestHelpShowsFlagsAsTheyAreTyped(t *testing.T) {
	eachCommand(program(), func(c *cobra.Command) {
		var out strings.Builder
		c.SetOut(&out)
		if err := c.Help(); err != nil {
			t.Fatal(err)
		}
		for _, odd := range []string{"[=", "stringArray", "default -1"} {
			if c.Name() != "help" && strings.Contains(out.String(), odd) {
				t.Errorf("the help of %s shows %s:\n%s", c.CommandPath(), odd, out.String())
			}
		}
	})
}

var word = regexp.MustCompile(`('[^']*'|"[^"]*"|[^\s'"])+`)

// checkLine fails where a command line would be refused for its commands, flags or arguments, and gives the path of its
// command. A line without arguments may be a mere mention.
func checkLine(t *testing.T, line string) (path string) {
	t.Helper()
	var args []string
	for _, w := range word.FindAllString(line, -1)[1:] {
		if w == ">" || w == "|" || w == "&" || w == "&&" || strings.HasPrefix(w, "#") {
			break
		}
		args = append(args, strings.Trim(w, `'"`))
	}
	c, args, err := program().Find(args)
	if err == nil {
		err = c.ParseFlags(args)
	}
	if err == nil && c.Flags().NArg() > 0 {
		err = c.ValidateArgs(c.Flags().Args())
	}
	if err != nil {
		t.Errorf("%s: %v", strings.TrimSpace(line), err)
	}
	return c.CommandPath()
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
	codeBlock     = regexp.MustCompile("(?ms)^```[a-z]*\n(.*?)^```$")
	inBlock       = regexp.MustCompile(`(?m)^(?:\$ )?(tenantctl .*)$`)
	inline        = regexp.MustCompile("`(tenantctl [^`]+)`")
	relativeLink  = regexp.MustCompile(`\]\(([^):#]*)(#[^)]*)?\)`)
	heading       = regexp.MustCompile(`(?m)^#+ (.*)$`)
	notInAnAnchor = regexp.MustCompile("[^a-z0-9 _-]")
)

func TestDocumentationShowsOnlyCommandsThatExist(t *testing.T) {
	count := 0
	for path, text := range pages(t) {
		shown := inline.FindAllStringSubmatch(text, -1)
		for _, block := range codeBlock.FindAllStringSubmatch(text, -1) {
			lines := strings.ReplaceAll(block[1], "\\\n", "")
			shown = append(shown, inBlock.FindAllStringSubmatch(lines, -1)...)
		}
		count += len(shown)
		for _, m := range shown {
			t.Run(filepath.Base(path), func(t *testing.T) { checkLine(t, m[1]) })
		}
	}
	if count < 50 {
		t.Errorf("only %d command lines were found in the pages", count)
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

// A line of prose fits a window beside another one; tables and what is shown as printed may be longer.
func TestLinesOfProseStayBelow120Characters(t *testing.T) {
	for path, text := range pages(t) {
		shown := false
		for i, line := range strings.Split(text, "\n") {
			mark := strings.TrimSpace(line)
			if strings.HasPrefix(mark, "```") {
				shown = !shown
			}
			if n := utf8.RuneCountInString(line); n > 120 && !shown && !strings.HasPrefix(mark, "|") {
				t.Errorf("%s:%d: %d characters", path, i+1, n)
			}
		}
	}
}

// The architecture page names files and tests where a promise is kept: each of them is there.
func TestTheArchitecturePageNamesFilesAndTestsThatExist(t *testing.T) {
	page, err := os.ReadFile("../docs/architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range regexp.MustCompile("`([a-z]+/[a-z_]+\\.go)`").FindAllStringSubmatch(string(page), -1) {
		if _, err := os.Stat(filepath.Join("..", m[1])); err != nil {
			t.Error(err)
		}
	}
	for _, m := range regexp.MustCompile("`(Test\\w+)`[^|]*in `(\\w+)`").FindAllStringSubmatch(string(page), -1) {
		files, err := filepath.Glob(filepath.Join("..", m[2], "*_test.go"))
		if err != nil {
			t.Fatal(err)
		}
		if !slices.ContainsFunc(files, func(f string) bool {
			code, err := os.ReadFile(f)
			return err == nil && strings.Contains(string(code), "func "+m[1]+"(")
		}) {
			t.Errorf("%s has no test %s", m[2], m[1])
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
