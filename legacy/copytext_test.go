package legacy

import (
	"bytes"
	"context"
	"slices"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// copyLine is a line of values; nil for NULL.
func copyLine(values ...[]byte) []byte {
	var line []byte
	for _, v := range values {
		if v == nil {
			line = appendNull(line)
		} else {
			line = appendField(line, v)
		}
	}
	return endLine(line)
}

func TestCopyTextIsReadAsPostgresWritesIt(t *testing.T) {
	for _, c := range []struct {
		line string
		want []string // "NULL" for NULL
	}{
		{"a\tb\n", []string{"a", "b"}},
		{"a\tb", []string{"a", "b"}},
		{"\n", []string{""}},
		{"\t\n", []string{"", ""}},
		{`\N` + "\t" + `\\N` + "\n", []string{"NULL", `\N`}},
		{`a\tb\n\r\\c\b\f\v`, []string{"a\tb\n\r\\c\b\f\v"}},
		{`\101\x41\x4g\q\.`, []string{"AA\x04gq."}},
		{`\xyz`, []string{"xyz"}},
		{`x\`, []string{`x\`}},
	} {
		fields, _ := splitLine([]byte(c.line), nil, nil)
		var got []string
		for _, f := range fields {
			if f == nil {
				got = append(got, "NULL")
			} else {
				got = append(got, string(f))
			}
		}
		if !slices.Equal(got, c.want) {
			t.Errorf("%q: got %q, want %q", c.line, got, c.want)
		}
	}
}

func FuzzCopyTextComesBackAsItWas(f *testing.F) {
	f.Add([]byte("a"), []byte("b\tc\nd\\N"), true)
	f.Add([]byte(`\N`), []byte("\r\b\f\v\x00\xff"), false)
	f.Add([]byte{}, []byte{}, true)
	f.Fuzz(func(t *testing.T, a, b []byte, null bool) {
		values := [][]byte{append([]byte{}, a...), append([]byte{}, b...), append([]byte{}, a...)}
		if null {
			values[1] = nil
		}
		line := copyLine(values...)
		if bytes.Count(line, []byte("\n")) != 1 || bytes.Count(line, []byte("\t")) != 2 {
			t.Fatalf("%q is not one line of three fields", line)
		}
		fields, _ := splitLine(line, nil, nil)
		if len(fields) != len(values) {
			t.Fatalf("%q became %d fields", line, len(fields))
		}
		for i := range values {
			if !bytes.Equal(fields[i], values[i]) || (fields[i] == nil) != (values[i] == nil) {
				t.Fatalf("field %d was %q and came back as %q", i, values[i], fields[i])
			}
		}
	})
}

func FuzzAnyCopyTextCanBeSplit(f *testing.F) {
	f.Add([]byte("a\\\tb\\x4\\7"))
	f.Fuzz(func(t *testing.T, line []byte) {
		fields, buf := splitLine(line, nil, nil)
		again, _ := splitLine(copyLine(fields...), nil, nil)
		if len(again) != len(fields) {
			t.Fatalf("%d fields became %d", len(fields), len(again))
		}
		for i := range fields {
			if !bytes.Equal(again[i], fields[i]) {
				t.Fatalf("field %d was %q and came back as %q", i, fields[i], again[i])
			}
		}
		_ = buf
	})
}

func TestALineIsSplitWithoutAllocation(t *testing.T) {
	line := copyLine([]byte("a\tb"), nil, []byte("plain"), []byte("c\\d\n"))
	fields, buf := splitLine(line, nil, nil)
	if n := testing.AllocsPerRun(100, func() { fields, buf = splitLine(line, fields, buf) }); n != 0 {
		t.Errorf("%v allocations a line", n)
	}
	out := make([]byte, 0, 100)
	if n := testing.AllocsPerRun(100, func() {
		out = out[:0]
		for _, f := range fields {
			out = appendField(out, f)
		}
		out = endLine(appendBytea(out, buf))
	}); n != 0 {
		t.Errorf("%v allocations to build a line", n)
	}
}

func TestPostgresReadsOurCopyText(t *testing.T) {
	ctx := context.Background()
	conn, err := pgx.Connect(ctx, tenanttest.SuperuserURL(t))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	if _, err := conn.Exec(ctx, `CREATE TEMP TABLE t (a text, b bytea)`); err != nil {
		t.Fatal(err)
	}
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	ascii := all[1:128]
	line := endLine(appendBytea(appendField(nil, ascii), all))
	line = append(line, endLine(appendNull(appendField(nil, `\N`)))...)
	line = append(line, endLine(appendBytea(appendField(nil, `\.`), nil))...)
	if _, err := conn.PgConn().CopyFrom(ctx, bytes.NewReader(line), "COPY t FROM STDIN"); err != nil {
		t.Fatal(err)
	}
	var a, n, dot string
	var b []byte
	if err := conn.QueryRow(ctx, `SELECT (SELECT a FROM t WHERE length(a) > 2), (SELECT b FROM t WHERE length(b) > 2),
		(SELECT a FROM t WHERE b IS NULL), (SELECT a FROM t WHERE length(b) = 0)`).Scan(&a, &b, &n, &dot); err != nil {
		t.Fatal(err)
	}
	if a != string(ascii) || !bytes.Equal(b, all) || n != `\N` || dot != `\.` {
		t.Errorf("got %q, %x, %q and %q", a, b, n, dot)
	}
	// And back.
	var out bytes.Buffer
	if _, err := conn.PgConn().CopyTo(ctx, &out, "COPY (SELECT a FROM t WHERE length(a) > 2) TO STDOUT"); err != nil {
		t.Fatal(err)
	}
	if fields, _ := splitLine(out.Bytes(), nil, nil); len(fields) != 1 || !bytes.Equal(fields[0], ascii) {
		t.Errorf("read back %q", fields)
	}
}
