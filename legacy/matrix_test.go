package legacy

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

// matrixType is a type with values at its bounds, and the least change of a value v.
type matrixType struct {
	typ    string
	values []string // as SQL literals of the type
	step   string   // SQL
}

var matrixTypes = []matrixType{
	{"smallint", []string{"-32768", "0", "32767"}, "CASE WHEN v < 0 THEN v + 1 ELSE v - 1 END"},
	{"integer", []string{"-2147483648", "1", "2147483647"}, "CASE WHEN v < 0 THEN v + 1 ELSE v - 1 END"},
	{"bigint", []string{"-9223372036854775808", "0", "9007199254740993"}, "CASE WHEN v < 0 THEN v + 1 ELSE v - 1 END"},
	{"numeric(10,2)", []string{"'-99999999.99'", "'0.00'", "'12.34'"}, "CASE WHEN v < 0 THEN v + 0.01 ELSE v - 0.01 END"},
	{"numeric", []string{"'NaN'", "'1e-30'", "'123456789012345678901234567890.000000001'"}, "v + 1e-31"},
	{"real", []string{"'NaN'", "'Infinity'", "'0.1'", "'16777216'"}, "(v::float8 * (1 - 1.2e-7))::real"},
	{"double precision", []string{"'NaN'", "'-0'", "'0.1'", "'9007199254740993'"}, "v * (1 - 2.220446049250313e-16::float8)"},
	{"boolean", []string{"true", "false"}, "NOT v"},
	{"text", []string{"''", `E'tab\t nl\n \\ \x01'`, "'0042'", "'2024-02-29'", "'now'", `'{"a": 1}'`, "'true'"}, "v || ' '"},
	{"character varying(10)", []string{"''", "'trailing  '", "'1234567890'", "'é😀'"}, "left(v, 9) || '.'"},
	{"character(5)", []string{"'ab'", "'abcde'"}, "CASE WHEN v = 'z' THEN 'y' ELSE 'z' END"},
	{"bytea", []string{`'\x'`, `'\x00ff5c'`}, `v || '\x00'`},
	{"date", []string{"'0044-03-15 BC'", "'2024-02-29'", "'infinity'"}, "v + 1"},
	{"time without time zone", []string{"'00:00'", "'23:59:59.999999'", "'24:00'"}, "v - interval '1 microsecond'"},
	{"time(0) without time zone", []string{"'23:59:59'"}, "v - interval '1 second'"},
	{"timestamp without time zone", []string{"'0044-03-15 00:00 BC'", "'2024-02-29 23:59:59.999999'", "'-infinity'"}, "v + interval '1 microsecond'"},
	{"timestamp(0) with time zone", []string{"'2024-03-31 02:30:00+02'"}, "v + interval '1 second'"},
	{"timestamp with time zone", []string{"'2024-03-31 02:30:00.000001+02'", "'9999-12-31 23:59:59+00'"}, "v + interval '1 microsecond'"},
	{"interval", []string{"'1 year -2 days 00:00:00.000001'", "'24:00'", "'1 day'"}, "v + interval '1 microsecond'"},
	{"interval day", []string{"'3 days'"}, "v + interval '1 day'"},
	{"uuid", []string{"'00112233-4455-6677-8899-aabbccddeeff'"}, "'00112233-4455-6677-8899-aabbccddeefe'"},
	{"json", []string{`'{"b": 1, "a": 1.0, "a": 2}'`, `'null'`, `'"\u0000"'`}, `'{"b": 1, "a": 1.0}'`},
	{"jsonb", []string{`'{"b": 1, "a": 1.0}'`, `'[]'`}, `'{"b": 1, "a": 1.01}'`},
	{"inet", []string{"'10.0.0.1'", "'::1/64'"}, "v + 1"},
	{"integer[]", []string{"'{}'", "'{1,NULL}'", "'[2:3]={1,2}'"}, "v || 0"},
	{"old.size", []string{"'small'", "'large'"}, "CASE WHEN v = 'small' THEN 'large' ELSE 'small' END::old.size"},
	{"int4range", []string{"'empty'", "'[1,5)'"}, "'[7,8)'"},
	{"money", []string{"'12.34'"}, "v + '0.01'"},
	{"bit(3)", []string{"'101'"}, "'111'"},
}

// rareTypes are of fewer pairs: each with itself and with text, in the full matrix with all.
var rareTypes = []matrixType{
	{"bit varying(8)", []string{"''", "'10101010'"}, "CASE WHEN v = B'1' THEN B'0' ELSE B'1' END"},
	{"time with time zone", []string{"'00:00+15:59'", "'24:00-15:59'", "'12:00:00.000001+02:30:15'"}, "v - interval '1 microsecond'"},
	{"interval year to month", []string{"'3 years 2 mons'", "'-1 mons'"}, "v + interval '1 month'"},
	{"interval(0)", []string{"'-1 day +00:00:59'", "'178000000 years'"}, "v - interval '1 second'"},
	{"cidr", []string{"'10.0.0.0/8'", "'::/0'"}, "'10.0.0.0/9'"},
	{"macaddr", []string{"'08:00:2b:01:02:03'"}, "'08:00:2b:01:02:04'"},
	{"macaddr8", []string{"'08:00:2b:01:02:03:04:05'"}, "'08:00:2b:01:02:03:04:06'"},
	{"tsvector", []string{"''", `$$'it''s':1A 'a b':16383 '\\\\':3$$`}, "setweight(v || 'z', 'B')"},
	{"tsquery", []string{"''", "'!a <2> b:*A & c'"}, "'a <3> b'"},
	{"xml", []string{"'<a b=\"1\">é&lt; </a>'", "'text alone'"}, "'<a b=\"1\">é&lt;</a>'"},
	{"pg_lsn", []string{"'0/0'", "'FFFFFFFF/FFFFFFFF'"}, "'FFFFFFFF/FFFFFFFE'"},
	{"numeric(3,-2)", []string{"'99900'", "'-100'"}, "v - 100"},
	{"oid", []string{"'0'", "'4294967295'"}, "'4294967294'"},
	{"name", []string{"''", "'a \\'"}, "'a'"},
	{`"char"`, []string{"''", "'z'", `'\377'`}, "'y'"},
	{"point", []string{"'(0.1,-0)'", "'(NaN,Infinity)'"}, "v + '(1e-15,0)'"},
	{"box", []string{"'((0.1,0.1),(-1,-1))'"}, "'((0.1,0.1),(-1,-2))'"},
	{"path", []string{"'[(0,0),(1,1e300)]'", "'((0,0),(1,1))'"}, "pclose(v) + '(1,0)'"},
	{"circle", []string{"'<(0,0),1e-300>'"}, "'<(0,0),2e-300>'"},
	{"daterange", []string{"'empty'", "'[,)'", "'[2024-02-29,infinity)'", "'[-infinity,2024-01-01)'"}, "'[2024-02-29,2024-03-01)'"},
	{"numrange", []string{"'(1.00,2.000]'", "'(,1e-20)'"}, "'(1.00,2.001]'"},
	{"tstzrange", []string{"'[2024-03-31 02:30:00.000001+02,infinity]'", "'(0044-03-15 00:00+00 BC,)'"}, "'empty'"},
	{"int8multirange", []string{"'{}'", "'{[-9223372036854775808,0),[5,)}'"}, "'{[5,6)}'"},
	{"text[]", []string{`$${NULL,"NULL","","a\"b\\\\c{,}"," x "}$$`, "'{{a,b},{c,d}}'", "'[-1:0]={x,y}'"}, "ARRAY['z']"},
	{"numeric(6,2)[]", []string{"'{1.50,NULL,-9999.99,NaN}'"}, "v || 0.01"},
	{"double precision[]", []string{"'{-0,NaN,Infinity,0.1,5e-324}'"}, "v || 0.1::float8"},
	{"timestamp with time zone[]", []string{"'{infinity,2024-03-31 02:30:00.000001+02,0044-03-15 00:00+00 BC}'"}, "v[1:2]"},
	{"timestamp(0) without time zone[]", []string{"'{2024-12-31 23:59:59}'"}, "v || '2024-01-01'::timestamp"},
	{"interval[]", []string{"'{1 mon -30 days 24:00:00}'"}, "v || '30 days'::interval"},
	{"date[]", []string{"'{0044-03-15 BC,-infinity}'"}, "v || '2024-01-01'::date"},
	{"bytea[]", []string{`$${"\\x00ff5c","\\x",NULL}$$`}, `v || '\x00'::bytea`},
	{"json[]", []string{`$${"{\"b\": 1, \"a\":1.0, \"a\":2}",NULL,"null"}$$`}, `ARRAY['{"b": 1, "a":1.0}'::json]`},
	{"jsonb[]", []string{`$${"{\"b\": 1.0}"}$$`}, `ARRAY['{"b": 1}'::jsonb]`},
	{"boolean[]", []string{"'{t,f,NULL}'"}, "'{t,f,f}'"},
	{"character(3)[]", []string{"'{a,abc}'"}, "'{b,abc}'"},
	{"uuid[]", []string{"'{00112233-4455-6677-8899-aabbccddeeff}'"}, "'{00112233-4455-6677-8899-aabbccddeefe}'"},
	{"old.size[]", []string{"'{small,NULL,large}'"}, "v || 'small'::old.size"},
	{"old.couple", []string{`$$(1,"a ""b"" \\\\ ,",{x},"(0.10,)")$$`, "'(,,,)'"}, "row(1, '', NULL, NULL)::old.couple"},
	{"old.couple[]", []string{`$${"(1,\"a,b\",{x},)"}$$`}, "v || row(1, '', NULL, NULL)::old.couple"},
	{"old.few", []string{"'9.99'", "'0.00'"}, "'0.01'"},
	{"old.few[]", []string{"'{9.99,0.00}'"}, "'{9.99,0.01}'::old.few[]"},
	{"old.floatrange", []string{"'[0.1,Infinity)'"}, "'[0.1,1e300)'"},
	{"ext.citext", []string{"'AbC'", "'42'"}, "'aBC'"},
	{"ext.hstore", []string{`$$"a"=>NULL,"b\"\\\\"=>"x, y"$$`, "''"}, "v OPERATOR(ext.||) 'a=>1'::ext.hstore"},
	{"ext.ltree", []string{"'Top.a_b'", "''"}, "'Top.a_b.c'"},
}

// rareTypesSQL makes those of the rare types that are not built in, in other schemas than the tenants'.
const rareTypesSQL = `CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; CREATE EXTENSION hstore SCHEMA ext; CREATE EXTENSION ltree SCHEMA ext;
	CREATE TYPE old.couple AS (a int, b text, c text[], d numrange); CREATE TYPE old.floatrange AS RANGE (subtype = float8);
	CREATE DOMAIN old.some AS numeric(10,2) CHECK (VALUE >= 0); CREATE DOMAIN old.few AS old.some CHECK (VALUE < 10)`

// pair is a table of the matrix: its column v has one type in the source and another in the target.
type pair struct {
	name     string
	from, to matrixType
}

// text is the SQL of the source's value as text: by its type's output, but for truth values and the spaces of char(n).
func (p pair) text() string {
	if p.from.typ == "boolean" && (p.to.typ == "text" || strings.HasPrefix(p.to.typ, "character")) {
		return "v::text"
	}
	if p.from.typ == "character(5)" && !strings.HasPrefix(p.to.typ, "character(") {
		return "v::text"
	}
	return "CASE WHEN v IS DISTINCT FROM NULL THEN concat(v) END"
}

// exact is the SQL of whether the text has one reading: words such as now have none.
func (p pair) exact() string {
	if strings.Contains(p.to.typ, "time") || p.to.typ == "date" {
		return "v IS NULL OR concat(v) NOT IN ('now', '0042')"
	}
	if p.to.typ == "money" && p.from.typ != "money" {
		return `v IS NULL OR concat(v) ~ '^[+-]?[0-9]+([.][0-9]*)?$'`
	}
	return "true"
}

// matrixPairs are the pairs that a plan accepts. Without all, a fixed part: each type with itself, with text, and a third of
// the others.
func matrixPairs(t *testing.T, s *stand, all bool) []pair {
	t.Helper()
	var pairs []pair
	text := matrixTypes[slices.IndexFunc(matrixTypes, func(m matrixType) bool { return m.typ == "text" })]
	for i, m := range rareTypes {
		pairs = append(pairs, pair{fmt.Sprintf("r_%d", i), m, m}, pair{fmt.Sprintf("rt_%d", i), m, text}, pair{fmt.Sprintf("tr_%d", i), matrixType{"text", m.values, ""}, m})
	}
	for i, from := range matrixTypes {
		for j, to := range matrixTypes {
			if all || i == j || to.typ == "text" || from.typ == "text" || (i+j)%4 == 0 {
				pairs = append(pairs, pair{fmt.Sprintf("m_%d_%d", i, j), from, to})
			}
		}
	}
	var typname, full string
	kinds := map[string]sourceColumn{}
	for _, m := range matrixTypes {
		err := s.pool.QueryRow(context.Background(), `SELECT t.typname, format_type(a.atttypid, a.atttypmod) FROM pg_attribute a
			JOIN pg_type t ON t.oid = a.atttypid WHERE a.attrelid = 'old.every'::regclass AND a.attname = $1`, m.typ).Scan(&typname, &full)
		if err != nil {
			t.Fatal(err)
		}
		kinds[m.typ] = sourceColumn{typ: full, kind: postgresKind(typname)}
	}
	return slices.DeleteFunc(pairs, func(p pair) bool {
		src, tgt := kinds[p.from.typ], kinds[p.to.typ]
		return convert(storePostgres, &src, &targetColumn{typ: tgt.typ, kind: tgt.kind}).refused != ""
	})
}

// Every value that an import loads is the one that PostgreSQL makes of the source's text when it is inserted, every other is
// a reject; a verification is clean then, and names the row of each table whose value is changed by the least step.
func TestEveryPairOfTypesIsLoadedExactlyAndVerified(t *testing.T) {
	var every []string
	for _, m := range slices.Concat(matrixTypes, rareTypes) {
		every = append(every, quoteColumn(m.typ)+" "+m.typ)
	}
	s := newStand(t, "CREATE TABLE nothing (id int)", `CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1);
		CREATE TYPE old.size AS ENUM ('small', 'large'); `+rareTypesSQL+`; CREATE TABLE every (`+strings.Join(every, ", ")+`)`)
	pairs := matrixPairs(t, s, os.Getenv("TENANTCTL_TEST_MATRIX") == "all")
	var source, model, mapping strings.Builder
	for _, p := range pairs {
		fmt.Fprintf(&source, "CREATE TABLE old.%s (id int PRIMARY KEY, firm int DEFAULT 1, v %s); INSERT INTO old.%[1]s (id, v) VALUES (0, NULL)", p.name, p.from.typ)
		for n, v := range p.from.values {
			fmt.Fprintf(&source, ", (%d, %s)", n+1, v)
		}
		source.WriteString(";\n")
		fmt.Fprintf(&model, "CREATE TABLE %s (id int PRIMARY KEY, v %s);\n", p.name, p.to.typ)
		fmt.Fprintf(&mapping, "  - {from: %s, key: firm}\n", p.name)
	}
	s.tables.model = model.String()
	s.sql(source.String() + expectedSQL(model.String()))
	for _, p := range pairs {
		s.sql("SET timezone = 'UTC'; SELECT expected.put('" + p.name + "', id, " + p.text() + ", " + p.exact() + ") FROM old." + p.name)
	}
	s.matrixHolds(s.mapping("tables:\n"+mapping.String()), pairs)
}

// expectedSQL makes the tables of a matrix a second time, and a function that puts a text into one of them as PostgreSQL does.
func expectedSQL(model string) string {
	return "SET search_path = model; " + model + "RESET search_path; CREATE SCHEMA expected; SET search_path = expected; " + model +
		`RESET search_path; CREATE TABLE expected.rejects (name text, id int);
		CREATE FUNCTION expected.put(name text, id int, v text, exact boolean) RETURNS void LANGUAGE plpgsql AS $f$ BEGIN
			IF NOT exact THEN RAISE EXCEPTION 'two readings'; END IF;
			EXECUTE format('INSERT INTO expected.%I VALUES (%s, %L)', name, id, v);
		EXCEPTION WHEN OTHERS THEN INSERT INTO expected.rejects VALUES (name, id);
		END $f$;`
}

// matrixHolds loads the pairs, compares them with what is expected, and has verify find the least change of each.
func (s *stand) matrixHolds(m *Mapping, pairs []pair) {
	t := s.t
	t.Helper()
	rejected := s.rows("SELECT count(*) FROM expected.rejects")[0]
	r, err := s.run(context.Background(), m, RunRequest{})
	if err != nil && !errors.Is(err, tenant.ErrPartial) {
		t.Fatalf("run: %v", err)
	}
	if got := fmt.Sprint(r.Totals.Rejected); got != rejected {
		t.Errorf("%s rows were rejected, PostgreSQL refuses %s", got, rejected)
	}
	for _, p := range pairs {
		const both = "SELECT id, v::text FROM %[1]s.%[2]s EXCEPT ALL SELECT id, v::text FROM %[3]s.%[2]s"
		if got := s.rows(fmt.Sprintf(both, "t_f1", p.name, "expected")); len(got) > 0 {
			t.Errorf("%s to %s: loaded wrongly: %q", p.from.typ, p.to.typ, got)
		}
		if got := s.rows(fmt.Sprintf(both, "expected", p.name, "t_f1")); len(got) > 0 {
			t.Errorf("%s to %s: not loaded: %q", p.from.typ, p.to.typ, got)
		}
	}
	s.clean(m)
	changed, values := map[string][]string{}, 0 // the rows' keys by table
	for _, p := range pairs {
		// The row without a value gets one as well.
		c := fmt.Sprintf(`(SELECT id, CASE WHEN v IS DISTINCT FROM NULL THEN %[2]s
			ELSE (SELECT v FROM t_f1.%[1]s WHERE v IS DISTINCT FROM NULL ORDER BY id LIMIT 1) END AS to_v FROM t_f1.%[1]s) c
			WHERE c.id = t.id AND to_v::text IS DISTINCT FROM v::text`, p.name, p.to.step)
		changed[p.name] = s.rows(fmt.Sprintf(`SELECT '["' || t.id || '"]' FROM t_f1.%s t, %s`, p.name, c))
		s.sql(fmt.Sprintf("UPDATE t_f1.%s t SET v = to_v FROM %s", p.name, c))
		slices.Sort(changed[p.name])
		values += len(changed[p.name])
	}
	if r, err = s.verify(m); !errors.Is(err, tenant.ErrDiffers) {
		t.Fatalf("verify: %v", err)
	}
	for _, table := range r.Tables {
		var named []string
		for _, d := range table.Differences {
			named = append(named, d.Key)
			if d.What != "differs" {
				t.Errorf("%s: verify says %v", table.Table, d)
			}
		}
		slices.Sort(named)
		if want := changed[table.Table]; !slices.Equal(named, want[:min(len(want), differencesShown)]) || *table.Match != (len(named) == 0) {
			t.Errorf("%s: rows %q were changed, verify says %v", table.Table, changed[table.Table], table.Differences)
		}
	}
	t.Logf("%d pairs of types, %s rows refused, %d values changed", len(pairs), rejected, values)
}
