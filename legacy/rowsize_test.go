package legacy

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A row with one byte more than the limit is a reject with its key, whatever its column's type and whatever else the table holds;
// a verification agrees.
func TestARowOverTheLimitIsARejectWithItsKey(t *testing.T) {
	s := newStand(t, `CREATE TABLE docs (id int PRIMARY KEY, body text); CREATE TABLE files (id int PRIMARY KEY, body bytea);
			CREATE TABLE facts (id int PRIMARY KEY, body jsonb); CREATE TABLE parts (a text, b text)`,
		`CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1);
		CREATE TABLE docs (id int PRIMARY KEY, firm int DEFAULT 1, body text, other text);
		INSERT INTO docs (id, body, other) SELECT g, left(repeat(md5(g::text), 300), 2047 + g), repeat('x', 9000) FROM generate_series(1, 2) g;
		INSERT INTO docs (id, body) VALUES (3, repeat('x', 2048)), (4, repeat(E'\n', 2000)), (5, repeat('é', 1100));
		CREATE TABLE files (id int PRIMARY KEY, firm int DEFAULT 1, body bytea); INSERT INTO files (id, body) VALUES (1, decode(repeat('0f', 1022), 'hex')), (2, decode(repeat('0f', 1024), 'hex'));
		CREATE TABLE facts (id int PRIMARY KEY, firm int DEFAULT 1, body jsonb); INSERT INTO facts (id, body) VALUES (1, to_jsonb(repeat('x', 2000))), (2, to_jsonb(repeat('x', 2047)));
		CREATE TABLE parts (firm int DEFAULT 1, a text, b text); INSERT INTO parts (a, b) VALUES (repeat('a', 1025), repeat('b', 1024)), ('a', 'b')`)
	m := s.mapping("max_row_bytes: 2049\ntables:\n" +
		"  - {from: docs, key: firm}\n  - {from: files, key: firm}\n  - {from: facts, key: firm}\n  - {from: parts, key: firm, columns: {a: a, b: b}}\n")
	s.load(m, RunRequest{}, 4)
	s.want("SELECT id FROM t_f1.docs ORDER BY id", "1", "3", "4")
	s.want("SELECT code, target, row_key, original IS NULL FROM tenantctl.import_rejects WHERE target <> 'parts' ORDER BY target, row_key",
		`too_long|docs|["2"]|true`, `too_long|docs|["5"]|true`, `too_long|facts|["2"]|true`, `too_long|files|["2"]|true`)
	s.want("SELECT a FROM t_f1.parts", strings.Repeat("a", 1025), "a")
	s.clean(m)
	s.sql("UPDATE t_f1.docs SET body = body || '.' WHERE id = 3")
	s.differs(m, "docs", `["3"]`)
}

func TestARecordOfAFileOverTheLimitIsAReject(t *testing.T) {
	s := newStand(t, `CREATE TABLE docs (id int PRIMARY KEY, body text)`, `CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1)`)
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "docs.csv"), fmt.Appendf(nil, "id,firm,body\n1,1,%s\n2,1,%s\n", strings.Repeat("x", 1000), strings.Repeat("x", 1024)), 0o600); err != nil {
		t.Fatal(err)
	}
	m, err := LoadBytes(filepath.Join(dir, "m.yaml"), []byte("version: 1\nname: old\nmax_row_bytes: 1024\nsources: {legacy: {url_env: LEGACY_TEST_URL, schema: old}, files: {path: .}}\n"+
		"tenants: {source: legacy, from: firms, key: id, name: \"'f' || id\"}\ntables:\n  - {source: files, from: docs.csv, key: firm}\n"))
	if err != nil {
		t.Fatal(err)
	}
	t.Setenv("LEGACY_TEST_URL", s.url)
	s.load(m, RunRequest{}, 1)
	s.want("SELECT code, row_key FROM tenantctl.import_rejects", `too_long|"docs.csv:2"`)
	s.clean(m)
}
