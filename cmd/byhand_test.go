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

	"github.com/jackc/pgx/v5"
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
	acme := b.prefix + "acme"
	_, err = querySQL(t.Context(), b.postgres, strings.ReplaceAll(`CREATE TABLE ACME."o b" (id int PRIMARY KEY, "n o" oid);
		GRANT SELECT, INSERT ON ACME."o b" TO ACME; GRANT ACME TO CURRENT_USER; SET ROLE ACME;
		INSERT INTO ACME."o b" VALUES (1, lo_from_bytea(0, decode(repeat('00ff', 300000), 'hex'))), (2, 7)`, "ACME", acme))
	if err != nil {
		t.Fatal(err)
	}
	b.must(t, "backup", "acme")
	manifests, _ := b.archives(t)
	dir, hand := filepath.Dir(manifests[0]), b.prefix+"by_hand"
	steps := []string{"check", "unpack", "join", "postgres"}
	if os.Getenv("TENANTCTL_TEST_MONGORESTORE") != "" { // no package that CI can install has it
		steps = append(steps, "mongodb")
	}
	for _, step := range steps {
		b.byHand(t, dir, blocks[step], step, hand)
	}
	// What only tenantctl writes is the mark of whose the schema is.
	ours := regexp.MustCompile(`tenantctl[^ ]* [^ ]*ID|ID`)
	plain := func(lines []string) []string {
		for i, l := range lines {
			lines[i] = strings.TrimSpace(ours.ReplaceAllString(l, ""))
		}
		return slices.DeleteFunc(lines, func(l string) bool {
			return strings.HasPrefix(l, "role ") || strings.HasPrefix(l, "schema ") || strings.HasPrefix(l, "member ") || strings.HasPrefix(l, "database ") ||
				strings.HasPrefix(l, "PLACE.o b {") || strings.HasPrefix(l, "collection ") || strings.HasPrefix(l, "document ") || strings.HasPrefix(l, "index ")
		})
	}
	want, got := plain(b.place(t, b.prefix+"acme")), plain(b.place(t, hand))
	if len(want) < 40 || !slices.Equal(want, got) {
		t.Errorf("of %d lines, these differ:\n%s", len(want), differences(want, got))
	}
	odd := b.prefix + `by "hand"` // a name that has to be quoted, and quoted within quotes
	b.byHand(t, dir, blocks["postgres"], "postgres", odd)
	for _, name := range []string{hand, odd} {
		object := b.column(t, fmt.Sprintf(`SELECT md5(lo_get("n o")) || ' ' || rolname || ' ' || nextval('%[1]s.customers_id_seq') FROM %[1]s."o b"
			JOIN pg_largeobject_metadata m ON m.oid = "n o" JOIN pg_roles r ON r.oid = m.lomowner`, pgx.Identifier{name}.Sanitize()))
		if want := []string{"50189156e57d0bd88d68531c6235ee7c " + name + " 2"}; !slices.Equal(object, want) {
			t.Errorf("the large object, its owner and the next number of a sequence are %q, want %q", object, want)
		}
	}
	if name := b.column(t, fmt.Sprintf(`SELECT name FROM %s.customers`, hand)); !slices.Equal(name, []string{"Zoë \"quoted\" \\ tab\there"}) {
		t.Errorf("the customer is called %q", name)
	}
}

// byHand runs a block of the manual in the folder of a backup.
func (b *world) byHand(t *testing.T, dir, block, step, name string) {
	t.Helper()
	if block == "" {
		t.Fatalf("the manual has no block %q", step)
	}
	t.Cleanup(func() {
		quoted := pgx.Identifier{name}.Sanitize()
		for _, sql := range []string{`DROP SCHEMA IF EXISTS ` + quoted + ` CASCADE`, `DROP OWNED BY ` + quoted, `DROP ROLE IF EXISTS ` + quoted} {
			if _, err := b.pg.Exec(context.Background(), sql); err != nil && !strings.Contains(err.Error(), "does not exist") {
				t.Error(err)
			}
		}
	})
	c := exec.Command("bash", "-euo", "pipefail", "-c", block)
	c.Dir = dir
	c.Env = append(os.Environ(), "DATABASE="+b.postgres, "NAME="+name, "MONGODB="+b.mongodb, "PATH="+os.Getenv("PATH")+":"+filepath.Dir(os.Getenv("TENANTCTL_TEST_MONGORESTORE")))
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("%s: %v\n%s", step, err, out)
	}
}
