package schema

import (
	"strings"
	"testing"
)

func TestNoValueOfAStatementIsKept(t *testing.T) {
	r := new(Resource)
	for sql, want := range map[string]string{
		`UPDATE t SET a = 's3cret', b = 4711 WHERE c = $1`:     `UPDATE t SET a = ?, b = ? WHERE c = $1`,
		`SELECT E'it\'s s3cret'`:                               `SELECT ?`,
		`SELECT $tag1$s3cret $x$ 4711$tag1$, $$s3cret$$`:       `SELECT ?, ?`,
		`SELECT 1 -- s3cret`:                                   `SELECT ?`,
		`SELECT /* s3cret /* s3cret */ 4711 */ "a b", x'4711'`: `SELECT "a b", x?`,
		`SELECT U&'s3cret' UESCAPE '!', N's3cret', B'1010'`:    `SELECT U&? UESCAPE ?, N?, B?`,
		`SELECT 'a\'' s3cret'`:                                 `SELECT …`,
		`SELECT 's3cret`:                                       `SELECT …`,
		`SELECT 1e5, .4711, 0xCAFE`:                            `SELECT ?, .?, ?`,
		``:                                                     ``,
	} {
		got := r.WithoutValues(sql)
		if strings.Contains(got, "s3cret") || strings.Contains(got, "4711") {
			t.Errorf("%s keeps %q", sql, got)
		}
		if got != want {
			t.Errorf("%s: %q, want %q", sql, got, want)
		}
	}
}

func TestAShortPasswordMasksNoPartsOfWords(t *testing.T) {
	for _, c := range []struct{ said, secret, want string }{
		{"database app: password app, apps, _app", "app", "database xxxxx: password xxxxx, apps, _app"},
		{"postgres://u:pw@h and pw2", "pw", "postgres://u:xxxxx@h and pw2"},
		{"xlong-secretx", "long-secret", "xxxxxxx"},
		{"aaa a", "a", "aaa xxxxx"},
		{"nothing", "", "nothing"},
	} {
		if got := maskWord(c.said, c.secret); got != c.want {
			t.Errorf("%q without %q: %q, want %q", c.said, c.secret, got, c.want)
		}
	}
}
