package schema

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

// keepOwn lets the catalog hold for each column of a schema what a newer minor release keeps there for itself.
func keepOwn(b bench, schema string) {
	b.t.Helper()
	_, err := b.super().Exec(b.t.Context(), `UPDATE pg_attribute SET attoptions = ARRAY['pg_attver=' || 4711 + attnum] || attoptions
		WHERE attrelid IN (SELECT oid FROM pg_class WHERE relkind IN ('r', 'p', 'v', 'm', 'c') AND relnamespace = to_regnamespace($1)) AND attnum > 0
			AND NOT EXISTS (SELECT FROM unnest(attoptions) o WHERE o LIKE 'pg\_%')`, schema)
	must(b.t, err)
}

func TestWhatAServerKeepsForItselfIsInNoStructureAndNoBackup(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	acme, globex := b.created("acme"), b.created("globex")
	for _, tn := range []tenant.Tenant{acme, globex} {
		b.exec("ALTER TABLE %s.customers ALTER COLUMN name SET (n_distinct = 5)", tn.Schema)
	}
	keepOwn(b, acme.Schema)
	prints, err := b.Structures(t.Context(), []tenant.Tenant{acme, globex})
	must(t, err)
	if prints[0] != prints[1] {
		t.Errorf("fingerprints %q differ by what the server keeps for itself", prints)
	}
	m := b.dump(acme)
	pre := m.file(t, partPre).String()
	if strings.Contains(pre, "pg_attver") || !strings.Contains(pre, "ALTER COLUMN name SET (n_distinct=5)") {
		t.Errorf("the definitions are\n%s", linesWith(pre, "SET ("))
	}
	if len(m.info.Notes) > 0 {
		t.Errorf("the backup notes %q", m.info.Notes)
	}
	initech := b.tenant("initech")
	must(t, m.into(t.Context(), b.Resource, initech, tenant.LoadOptions{Role: initech.Role, MakeRole: true}, 100))
	hooli := b.tenant("hooli")
	must(t, b.Clone(t.Context(), acme, hooli, true))
	if prints, err = b.Structures(t.Context(), []tenant.Tenant{acme, initech, hooli}); err != nil || prints[0] != prints[1] || prints[0] != prints[2] {
		t.Errorf("fingerprints %q, %v", prints, err)
	}
}

func TestAnOptionThatNobodyKnowsIsToldOf(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	acme, globex := b.created("acme"), b.created("globex")
	_, err := b.super().Exec(t.Context(), fmt.Sprintf("UPDATE pg_class SET reloptions = '{made_up=1}' WHERE oid = '%s.customers'::regclass", acme.Schema))
	must(t, err)
	_, err = b.super().Exec(t.Context(), fmt.Sprintf("UPDATE pg_attribute SET attoptions = '{made_up=1}' WHERE attrelid = '%s.orders'::regclass AND attnum = 1", globex.Schema))
	must(t, err)
	for tn, table := range map[*tenant.Tenant]string{&acme: "customers", &globex: "orders"} {
		conn, err := b.acquire(t.Context())
		must(t, err)
		s, _, err := b.inspect(t.Context(), conn, *tn)
		conn.Release()
		must(t, err)
		if want := "all options of " + table; len(s.other) != 1 || s.other[0] != want {
			t.Errorf("it tells of %q and not of %q", s.other, want)
		}
	}
}

func TestABackupThatTookAllOptionsComesBack(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	m := b.dump(b.created("acme"))
	pre := m.file(t, partPre)
	pre.WriteString("ALTER TABLE ONLY :\"tenant_schema\".customers ALTER COLUMN name SET (pg_attver=26556800);\n")
	old, first := "2:"+digest(m.info.Fingerprint), releaseOf(m.info.Server).major
	plain := fmt.Sprintf("PostgreSQL %d.%d", first, withoutOwn[first])
	newer := fmt.Sprintf("PostgreSQL %d.%d", first, withoutOwn[first]+1)
	for i, c := range []struct {
		fingerprint, server string
		fails, unproven     bool
	}{
		{old, plain, false, false},
		{old + "0", plain, true, false},
		{old + "0", newer, false, true},
		{m.info.Fingerprint, newer, false, false},
		{m.info.Fingerprint + "0", newer, true, false},
	} {
		to, said := b.tenant(fmt.Sprintf("t%d", i)), ""
		m.info.Fingerprint, m.info.Server = c.fingerprint, c.server
		err := m.into(t.Context(), b.Resource, to, tenant.LoadOptions{Role: to.Role, MakeRole: true, Log: func(s string) { said += s }}, 1000)
		if (err != nil) != c.fails || strings.Contains(said, "cannot be compared") != c.unproven {
			t.Errorf("%s of %s: %v; it says %q", c.fingerprint, c.server, err, said)
		}
	}
}

func TestOptionsThatOnlyTheServerSetsAreTakenOut(t *testing.T) {
	t.Parallel()
	for sql, want := range map[string]string{
		"ALTER TABLE ONLY s.a ALTER COLUMN b SET (pg_attver=5);":                                             ";",
		"ALTER TABLE ONLY s.a ALTER COLUMN b SET (pg_attver=5, n_distinct=-0.5);":                            "ALTER TABLE ONLY s.a ALTER COLUMN b SET (n_distinct=-0.5);",
		"ALTER TABLE ONLY s.a ALTER COLUMN b SET (n_distinct=5, pg_attver=5, n_distinct_inherited=6)":        "ALTER TABLE ONLY s.a ALTER COLUMN b SET (n_distinct=5, n_distinct_inherited=6)",
		"SELECT 1;\nALTER FOREIGN TABLE ONLY s.a ALTER COLUMN \"set\" SET (\"pg_x\"='(');\nSELECT 2;":        "SELECT 1;\n;\nSELECT 2;",
		"ALTER TABLE a ALTER COLUMN b SET (pg_attver=5);\nALTER TABLE a ALTER COLUMN c SET (pg_attver=6);\n": ";\n;\n",
		"ALTER TABLE a ALTER COLUMN b SET (n_distinct=5);":                                                   "ALTER TABLE a ALTER COLUMN b SET (n_distinct=5);",
		"ALTER TABLE a ALTER COLUMN pg_x SET DEFAULT (1);":                                                   "ALTER TABLE a ALTER COLUMN pg_x SET DEFAULT (1);",
		"ALTER TABLE a ADD CONSTRAINT pg_x CHECK (pg_x > 1);":                                                "ALTER TABLE a ADD CONSTRAINT pg_x CHECK (pg_x > 1);",
		"COMMENT ON TABLE a IS 'ALTER TABLE a ALTER COLUMN b SET (pg_attver=5);';":                           "COMMENT ON TABLE a IS 'ALTER TABLE a ALTER COLUMN b SET (pg_attver=5);';",
	} {
		if got := settable(sql); got != want {
			t.Errorf("%s\nbecomes\n%s", sql, got)
		}
	}
}

// pretend puts programs into a folder that say they are of a version.
func pretend(t *testing.T, version string) (dir string) {
	t.Helper()
	dir = t.TempDir()
	for _, name := range []string{"pg_dump", "pg_restore"} {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte("#!/bin/sh\necho \"$0 (PostgreSQL) "+version+" (Debian)\"\n"), 0o700))
	}
	return dir
}

func TestTheNewestMinorPgDumpIsTakenAndDoctorTellsOfAnOlderOne(t *testing.T) {
	b := newBench(t, example)
	server := b.major()
	older := fmt.Sprintf("%d.0", server)
	folders := []string{pretend(t, older), pretend(t, fmt.Sprintf("%d.99", server)), pretend(t, fmt.Sprintf("%d.1", server+1))}
	t.Setenv("PATH", strings.Join(folders, string(filepath.ListSeparator))+string(filepath.ListSeparator)+os.Getenv("PATH"))
	c, err := b.client(t.Context(), server)
	must(t, err)
	if filepath.Dir(c.dump) != folders[1] {
		t.Errorf("it takes %s of version %s", c.dump, c.version)
	}
	for dir, status := range map[string]string{folders[0]: tenant.CheckWarning, folders[1]: tenant.CheckOK, folders[2]: tenant.CheckOK} {
		over := b.over(b.cfg.Dir, func(c *Config) { c.Bin = dir })
		found := false
		for _, check := range over.Doctor(t.Context()) {
			if check.Name != "pg_dump" {
				continue
			}
			found = true
			if check.Status != status || strings.Contains(check.Message, "%!") || status == tenant.CheckWarning && !strings.Contains(check.Message, older+" in "+dir+" is older than the server") {
				t.Errorf("doctor says %+v", check)
			}
		}
		if !found {
			t.Error("doctor says nothing of pg_dump")
		}
	}
}
