package schema

import (
	"fmt"
	"strings"
	"testing"
)

func TestWritesNamesAndStringsSafely(t *testing.T) {
	b := newBench(t, "")
	for _, s := range []string{"a", "it's", `a"b`, `back\slash`, `\'; DROP TABLE x; --`, "ä\n\t☃", "$$", ""} {
		if got := b.scalar("%s", strings.ReplaceAll(text(s), "%", "%%")); got != s {
			t.Errorf("%q is written %s and read %q", s, text(s), got)
		}
		if s != "" {
			if got := b.scalar("SELECT %s FROM (SELECT 1 AS %s) x", quote(s), quote(s)); got != "1" {
				t.Errorf("the name %q is written %s", s, quote(s))
			}
		}
	}
	if got := fmt.Sprint(quote("Acme")); got != `"Acme"` {
		t.Errorf("the name is written %s", got)
	}
}
