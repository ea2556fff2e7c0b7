package cmd_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var shellBlock = regexp.MustCompile("(?s)```sh ([a-z-]+)\n(.*?)```")

// The commands of docs/restore-by-hand.md, as they stand there, restore a backup under another name with stock tools
// alone: the same definitions, the same rows, and a role that can use them.
func TestABackupIsRestoredByTheCommandsOfTheManualAlone(t *testing.T) {
	text, err := os.ReadFile("../docs/restore-by-hand.md")
	if err != nil {
		t.Fatal(err)
	}
	blocks := map[string]string{}
	for _, m := range shellBlock.FindAllStringSubmatch(string(text), -1) {
		blocks[m[1]] = m[2]
	}
	b := newBench(t)
	b.must(t, "init")
	b.must(t, "create", "acme")
	b.customer(t, "acme", "Zoë \"quoted\" \\ tab\there")
	b.must(t, "backup", "acme")
	manifests, _ := b.archives(t)
	dir, hand := filepath.Dir(manifests[0]), b.prefix+"by_hand"
	t.Cleanup(func() {
		for _, sql := range []string{`DROP SCHEMA IF EXISTS ` + hand + ` CASCADE`, `DROP OWNED BY ` + hand, `DROP ROLE IF EXISTS ` + hand} {
			if _, err := b.pg.Exec(context.Background(), sql); err != nil {
				t.Error(err)
			}
		}
	})
	steps := []string{"check", "unpack", "join", "postgres"}
	if os.Getenv("TENANTCTL_TEST_MONGORESTORE") != "" { // no package that CI can install has it
		steps = append(steps, "mongodb")
	}
	for _, step := range steps {
		if blocks[step] == "" {
			t.Fatalf("the manual has no block %q", step)
		}
		c := exec.Command("bash", "-euo", "pipefail", "-c", blocks[step])
		c.Dir = dir
		c.Env = append(os.Environ(), "DATABASE="+b.postgres, "NAME="+hand, "MONGODB="+b.mongodb, "PATH="+os.Getenv("PATH")+":"+filepath.Dir(os.Getenv("TENANTCTL_TEST_MONGORESTORE")))
		if out, err := c.CombinedOutput(); err != nil {
			t.Fatalf("%s: %v\n%s", step, err, out)
		}
	}
	// What only tenantctl writes is the mark of whose the schema is.
	ours := regexp.MustCompile(`tenantctl[^ ]* [^ ]*ID|ID`)
	plain := func(lines []string) []string {
		for i, l := range lines {
			lines[i] = strings.TrimSpace(ours.ReplaceAllString(l, ""))
		}
		return slices.DeleteFunc(lines, func(l string) bool {
			return strings.HasPrefix(l, "role ") || strings.HasPrefix(l, "schema ") || strings.HasPrefix(l, "member ") || strings.HasPrefix(l, "database ") ||
				strings.HasPrefix(l, "collection ") || strings.HasPrefix(l, "document ") || strings.HasPrefix(l, "index ")
		})
	}
	want, got := plain(b.place(t, b.prefix+"acme")), plain(b.place(t, hand))
	if len(want) < 40 || !slices.Equal(want, got) {
		t.Errorf("of %d lines, these differ:\n%s", len(want), differences(want, got))
	}
	if name := b.column(t, fmt.Sprintf(`SELECT name FROM %s.customers`, hand)); !slices.Equal(name, []string{"Zoë \"quoted\" \\ tab\there"}) {
		t.Errorf("the customer is called %q", name)
	}
}
