package schema

import "testing"

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
