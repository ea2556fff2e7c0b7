package schema

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/tenantctl/tenantctl/tenant"
)

// rows keeps what it is given.
type rows struct {
	columns []string
	rows    [][]any
	fail    error
}

func (r *rows) Columns(names []string) error { r.columns = names; return nil }
func (r *rows) Row(values []any) error       { r.rows = append(r.rows, values); return r.fail }

func TestExecStreamsRowsOfTheTenant(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	a, c := b.created("acme"), b.created("globex")
	for _, tn := range []tenant.Tenant{a, c} {
		n, err := b.Exec(t.Context(), tn, "INSERT INTO customers (email, name) SELECT i || '@example.com', '"+string(tn.Name)+"' FROM generate_series(1, 3) i; -- three", new(rows))
		must(t, err)
		if n != 3 {
			t.Errorf("%d rows were inserted", n)
		}
	}
	got := new(rows)
	n, err := b.Exec(t.Context(), a, "SELECT id, name FROM customers ORDER BY id", got)
	must(t, err)
	if n != 3 || fmt.Sprint(got.columns, got.rows) != "[id name] [[1 acme] [2 acme] [3 acme]]" {
		t.Errorf("got %d rows: %v %v", n, got.columns, got.rows)
	}
	got = new(rows)
	if n, err = b.Exec(t.Context(), a, "SELECT id FROM customers WHERE false", got); err != nil || n != 0 || fmt.Sprint(got.columns) != "[id]" {
		t.Errorf("no rows: got %d with columns %v, %v", n, got.columns, err)
	}

	got = new(rows)
	_, err = b.Exec(t.Context(), a, `SELECT true, 1::smallint, 2::int, 3::bigint, 1.5::real, 2.5::float8, 1.50::numeric, 'x'::text, NULL::int, '{"a": 1}'::jsonb,
		'2026-01-02 03:04:05+02'::timestamptz, '0190a1b2-0000-7000-8000-000000000000'::uuid, ARRAY[1,2], '\x0a'::bytea, 'open'::order_state, interval '1 day', 'NaN'::float8`, got)
	must(t, err)
	want := []any{
		true, int64(1), int64(2), int64(3), 1.5, 2.5, "1.50", "x", nil, json.RawMessage(`{"a": 1}`),
		time.Date(2026, 1, 2, 1, 4, 5, 0, time.UTC), "0190a1b2-0000-7000-8000-000000000000", "{1,2}", `\x0a`, "open", "1 day", "NaN",
	}
	if fmt.Sprintf("%#v", got.rows[0]) != fmt.Sprintf("%#v", want) {
		t.Errorf("got values\n%#v\nwant\n%#v", got.rows[0], want)
	}

	full := errors.New("disk full")
	if _, err := b.Exec(t.Context(), a, "SELECT 1", &rows{fail: full}); !errors.Is(err, full) {
		t.Errorf("an error of the sink came back as %v", err)
	}
}

// Exec runs a statement that may do whatever the schema's owner may.
func (b bench) Exec(ctx context.Context, tn tenant.Tenant, sql string, sink tenant.RowSink) (int64, error) {
	return b.Resource.Exec(ctx, tn, tenant.Statement{Text: sql, Write: true, DDL: true}, sink)
}

func TestExecRefusesMoreThanOneStatement(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	tn := b.created("acme")
	for statement, word := range map[string]string{
		"":                                "no statement",
		"-- nothing":                      "no statement",
		"SELECT 1; DROP TABLE customers":  "2 statements",
		"COMMIT":                          "does not run COMMIT",
		"ROLLBACK":                        "does not run ROLLBACK",
		"COPY customers FROM STDIN":       "COPY",
		"SELECT 'x":                       "does not end",
		"SELECT $$x":                      "does not end",
		"START TRANSACTION READ ONLY":     "does not run START",
		"COPY (SELECT 1) TO STDOUT (csv)": "COPY",
	} {
		_, err := b.Exec(t.Context(), tn, statement, new(rows))
		refused(t, err, tenant.ErrInvalid, word)
	}
	_, err := b.Exec(t.Context(), tn, "SELECT 'secret' FROM nowhere", new(rows))
	var e *tenant.Error
	if !errors.As(err, &e) || e.Code != undefinedTable || e.Statement != "SELECT '…' FROM nowhere" {
		t.Errorf("an error of the server came back as %#v", e)
	}
}

func TestExecLeavesNothingInTheSession(t *testing.T) {
	t.Parallel()
	b := newBench(t, example, func(c *Config) { c.MaxConnections, c.SchemasPerConnection = 1, 0 })
	a, c := b.created("acme"), b.created("globex")
	pid := b.scalar("pg_backend_pid()")
	for _, statement := range []string{
		"SET search_path = public", "SET statement_timeout = 1", "CREATE TEMP TABLE customers (x int)", "PREPARE p AS SELECT 1", "SELECT pg_advisory_lock(1)",
	} {
		_, err := b.Exec(t.Context(), a, statement, new(rows))
		must(t, err)
	}
	if b.scalar("pg_backend_pid()") != pid {
		t.Fatal("it is another session")
	}
	for what, want := range map[string]string{
		"current_setting('search_path')": `"$user", public`, "current_setting('statement_timeout')": "0",
		"SELECT count(*) FROM pg_prepared_statements":                                          "0",
		"SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid()": "0",
		"SELECT count(*) FROM pg_class WHERE relname = 'customers' AND relpersistence = 't'":   "0",
	} {
		if got := b.scalar("%s", what); got != want {
			t.Errorf("%s is %s, want %s", what, got, want)
		}
	}
	if _, err := b.Exec(t.Context(), c, "SELECT email FROM customers", new(rows)); err != nil {
		t.Error(err)
	}
}
