package cmd

import (
	"strings"
	"testing"
)

func TestAnnotationsAreEscapedAsGitHubReadsThem(t *testing.T) {
	for _, c := range []struct {
		annotation
		want string
	}{
		{annotation{level: "notice", message: "done"}, "::notice::done\n"},
		{annotation{level: "warning", file: "a,b:c.sql", line: 3, title: "100%", message: "50%\r\nof a: b, c"}, "::warning file=a%2Cb%3Ac.sql,line=3,title=100%25::50%25%0D%0Aof a: b, c\n"},
	} {
		var b strings.Builder
		annotate(&b, c.annotation)
		if b.String() != c.want {
			t.Errorf("got %q, want %q", b.String(), c.want)
		}
	}
}
