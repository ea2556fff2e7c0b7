package legacy

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// everyKind is a table with a column of each kind, for each the target's type.
var everyKind = []struct{ source, target, value string }{
	{"INT UNSIGNED", "bigint", "4294967295"},
	{"BIGINT UNSIGNED", "numeric(20,0)", "18446744073709551615"},
	{"TINYINT(1)", "boolean", "1"},
	{"TINYINT(1)", "smallint", "2"},
	{"BIT(1)", "boolean", "b'1'"},
	{"BIT(5)", "integer", "b'10101'"},
	{"BIT(5)", "bit(5)", "b'101'"},
	{"YEAR", "integer", "2024"},
	{"DECIMAL(30,10)", "numeric(30,4)", "-12345678901234567890.1234500000"},
	{"DECIMAL(10,2)", "numeric", "100.00"},
	{"FLOAT", "real", "1234.5678"},
	{"FLOAT", "double precision", "0.1"},
	{"DOUBLE", "double precision", "1e15/3"},
	{"DOUBLE", "real", "1.0000001"},
	{"CHAR(10)", "character(10)", "'ab '"},
	{"VARCHAR(20)", "character varying(20)", "'tab\\t\\\\ nl\\n '"},
	{"TEXT CHARACTER SET latin1", "text", "'é'"},
	{"TEXT", "text", "'😀\x01'"},
	{"ENUM('a','b')", "text", "'b'"},
	{"CHAR(1)", "boolean", "'y'"},
	{"BLOB", "bytea", "X'00ff5c0a09'"},
	{"BLOB", "text", "'plain'"},
	{"BINARY(16)", "uuid", "X'00112233445566778899aabbccddeeff'"},
	{"CHAR(36)", "uuid", "'00112233-4455-6677-8899-AABBCCDDEEFF'"},
	{"DATE", "date", "'2024-02-29'"},
	{"DATETIME", "date", "'2024-02-29 23:59:59'"},
	{"DATE", "timestamp without time zone", "'2024-02-29'"},
	{"TIME(3)", "time without time zone", "'23:59:59.125'"},
	{"TIME", "interval", "'-100:00:01'"},
	{"DATETIME(6)", "timestamp without time zone", "'2024-02-29 23:59:59.123456'"},
	{"TIMESTAMP NULL", "timestamp with time zone", "'2024-02-29 23:59:59'"},
	{"DATETIME", "timestamp with time zone", "'2024-02-29 23:59:59'"},
	{"JSON", "jsonb", `'{"a": [1, "x\\\\y"]}'`},
	{"INT", "text", "-5"},
	{"VARCHAR(10)", "integer", "'42'"},
}

// kindOf is the kind of a PostgreSQL type as format_type writes it.
func kindOf(t *testing.T, conn *pgx.Conn, typ string) kind {
	t.Helper()
	var name string
	if err := conn.QueryRow(context.Background(), "SELECT typname FROM pg_type WHERE oid = $1::text::regtype", typ).Scan(&name); err != nil {
		t.Fatal(err)
	}
	return postgresKind(name)
}

func TestEveryTypeOfMariaDBIsTheSameInPostgres(t *testing.T) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, tenanttest.SuperuserURL(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	columns, targets, values, nulls := "id INT PRIMARY KEY, tenant VARCHAR(20)", "id int", "", ""
	fields := []field{{name: "id", column: Column{From: "id"}, kind: kindInt, typ: "integer", key: true}}
	for i, k := range everyKind {
		name := fmt.Sprintf("c%d", i)
		columns += fmt.Sprintf(", %s %s", name, k.source)
		targets += fmt.Sprintf(", %s %s", name, k.target)
		values, nulls = values+", "+k.value, nulls+", NULL"
		fields = append(fields, field{name: name, column: Column{From: name}, kind: kindOf(t, conn, k.target), typ: k.target})
	}
	s, admin, _ := mariaWith(t, "CREATE TABLE every ("+columns+")",
		"INSERT INTO every VALUES (1, 'a'"+values+")", "INSERT INTO every VALUES (2, 'A'"+nulls+")", "INSERT INTO every VALUES (3, NULL"+values+")")
	random := rand.New(rand.NewPCG(1, 2))
	for i := range 200 {
		f := random.NormFloat64() * float64(int64(1)<<uint(random.IntN(50)))
		mustMySQL(t, admin, fmt.Sprintf("INSERT INTO every (id, tenant, c10, c11, c12, c13) VALUES (%d, 'floats', %[2]v, %[2]v, %[2]v, %[2]v)", 10+i, f))
	}
	if _, err := conn.Exec(ctx, "SET TIME ZONE 'Asia/Tokyo'; CREATE TEMP TABLE every ("+targets+")"); err != nil {
		t.Fatal(err)
	}
	q := &query{table: &Table{From: "every", Key: "tenant"}, fields: fields}
	byKey := map[string][]string{}
	var lines bytes.Buffer
	if err := s.read(ctx, q, part{}, "", func(r *record) error {
		if r.line == nil {
			return errors.New(taken(r))
		}
		lines.Write(r.line)
		id, _, _ := strings.Cut(string(r.line), "\t")
		key := nobody
		if r.key != nil {
			key = string(r.key)
		}
		byKey[key] = append(byKey[key], id)
		return nil
	}); err != nil {
		t.Fatal(err)
	}
	if _, err := conn.PgConn().CopyFrom(ctx, &lines, "COPY every FROM STDIN"); err != nil {
		t.Fatal(err)
	}
	for _, ids := range byKey {
		sameAsMariaDBShows(t, conn, s, q, fields, ids)
	}
	originals, err := s.originals(ctx, q, [][]byte{[]byte(`["1"]`)})
	if err != nil {
		t.Fatal(err)
	}
	// What comes back from its original is the same.
	var again []string
	if err := s.reread(ctx, q, []json.RawMessage{originals[0].row}, func(r *record) error { again = append(again, taken(r)); return nil }); err != nil {
		t.Fatal(err)
	}
	got, _ := readAll(t, s, q)
	sameTexts(t, strings.Split(again[0], "|"), strings.Split(got[0], "|"))
}

// sameAsMariaDBShows compares each value with what MariaDB's own SQL says of it.
func sameAsMariaDBShows(t *testing.T, conn *pgx.Conn, s *mysqlSource, q *query, fields []field, ids []string) {
	t.Helper()
	ctx := context.Background()
	b, err := s.selection(ctx, q)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range ids {
		for _, f := range fields {
			var ours, theirs *string
			if err := conn.QueryRow(ctx, "SELECT "+portableSQL(f.name, f)+" FROM every WHERE id = "+id).Scan(&theirs); err != nil {
				t.Fatal(err)
			}
			if err := s.db.QueryRow("SELECT " + portableMySQL("x."+f.name, b.column(f), f) + " FROM every x WHERE id = " + id).Scan(&ours); err != nil {
				t.Fatal(err)
			}
			if (ours == nil) != (theirs == nil) || ours != nil && *ours != *theirs {
				t.Errorf("row %s, %s: MariaDB %v, PostgreSQL %v", id, f.typ, text(ours), text(theirs))
			}
		}
	}
}

func text(s *string) string {
	if s == nil {
		return "NULL"
	}
	return fmt.Sprintf("%q", *s)
}
