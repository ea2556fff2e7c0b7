package cmd_test

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// ofTheServers are errors on the page of errors that PostgreSQL words.
var ofTheServers = []string{"canceling statement due to lock timeout"}

// Whoever looks for the words of an error finds it: those that docs/troubleshooting.md tells of are in the program.
func TestTheErrorsThatTheDocsTellOfAreInTheProgram(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../docs/troubleshooting.md")
	if err != nil {
		t.Fatal(err)
	}
	source := strings.Join(ofTheServers, "\n")
	err = filepath.WalkDir("..", func(path string, d os.DirEntry, err error) error {
		if err == nil && strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") {
			text, err := os.ReadFile(path)
			source += string(text)
			return err
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	words := regexp.MustCompile("`([^`]+)`")
	rows := regexp.MustCompile("(?m)^\\| (`[^|]+) \\|").FindAllStringSubmatch(string(page), -1)
	if len(rows) < 20 {
		t.Fatalf("only %d errors were found on the page", len(rows))
	}
	for _, row := range rows {
		for _, w := range words.FindAllStringSubmatch(row[1], -1) {
			if !strings.Contains(source, w[1]) {
				t.Errorf("no error says %q", w[1])
			}
		}
	}
}
