package sqltext

import "testing"

func TestATextInAViewThatNamesAnObjectOfTheSchemaMeansThatObject(t *testing.T) {
	r := Renaming{Schema: "t_acme", Objects: map[string]bool{"sales": true}, To: Spelling{`"t_copy"`, "'t_copy'", ""}}
	for name, test := range map[string]struct{ sql, want string }{
		"a query in a materialized view": {
			"CREATE MATERIALIZED VIEW t_acme.words AS SELECT * FROM ts_stat('select v from t_acme.sales')",
			"CREATE MATERIALIZED VIEW \"t_copy\".words AS SELECT * FROM ts_stat('select v from '\n't_copy'\n'.sales')",
		},
		"a view's query alone": {
			"SELECT 't_acme.sales'::text AS source", "SELECT 't_copy'\n'.sales'::text AS source",
		},
		"no object of the schema":         {"SELECT 't_acme.other'::text", "SELECT 't_acme.other'::text"},
		"the schema's name alone":         {"SELECT 't_acme'::text", "SELECT 't_acme'::text"},
		"a part of another name":          {"SELECT 'not_t_acme.sales'::text", "SELECT 'not_t_acme.sales'::text"},
		"a default, which may be a value": {"ALTER TABLE x ALTER v SET DEFAULT 't_acme.sales'", "ALTER TABLE x ALTER v SET DEFAULT 't_acme.sales'"},
	} {
		if got := r.SQL(test.sql); got != test.want {
			t.Errorf("%s becomes\n%s\nwant\n%s", name, got, test.want)
		}
	}
}
