package cmd

import (
	"strings"
	"testing"

	"github.com/jedib0t/go-pretty/v6/table"
)

func TestTextIsWrappedUnderItsColumnAtATerminalAlone(t *testing.T) {
	const message = "the server keeps no users: whoever reaches it reaches every tenant\n→ use another"
	for _, c := range []struct {
		name  string
		width int
		want  string
	}{
		{"terminal", 40, `STATUS   MESSAGE
warning  the server keeps no users:
         whoever reaches it reaches
         every tenant
         → use another
ok
`},
		{"no terminal", 0, `STATUS   MESSAGE
warning  the server keeps no users: whoever reaches it reaches every tenant
         → use another
ok
`},
		{"too narrow", 12, `STATUS   MESSAGE
warning  the server keeps no users: whoever reaches it reaches every tenant
         → use another
ok
`},
	} {
		t.Run(c.name, func(t *testing.T) {
			var out strings.Builder
			a := newApp(nil, &out, &out)
			w := &wrappedTable{Writer: a.table(&out), width: c.width}
			w.AppendHeader(header([]string{"status", "message"}))
			w.AppendRows([]table.Row{{"warning", message}, {"ok", ""}})
			w.Render()
			if out.String() != c.want {
				t.Errorf("got:\n%swant:\n%s", out.String(), c.want)
			}
		})
	}
}

func TestTextThatIsPipedIsNotWrapped(t *testing.T) {
	var out strings.Builder
	a := newApp(nil, &out, &out)
	long := strings.Repeat("word ", 60) + "end"
	a.fields(&out, "Hint", long)
	if got := out.String(); got != "Hint:  "+long+"\n" {
		t.Errorf("got %q", got)
	}
}
