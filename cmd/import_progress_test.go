package cmd

import (
	"strings"
	"testing"
	"time"

	pretty "github.com/jedib0t/go-pretty/v6/progress"
	"github.com/jedib0t/go-pretty/v6/text"

	"github.com/tenantctl/tenantctl/legacy"
)

func TestARateIsOfRowsThatThisRunRead(t *testing.T) {
	for _, c := range []struct {
		rows, left int64
		in         time.Duration
		want       string
	}{
		{0, 100, time.Minute, ""},
		{1000, 0, time.Millisecond, ""},
		{1000, 0, 2 * time.Second, "500/s"},
		{1000, 30000, 2 * time.Second, "500/s, 1m0s left"},
		{3000, -5, 2 * time.Second, "1.50K/s"},
		{1, 4, 10 * time.Second, "6/min, 40s left"},
	} {
		if got := pace(c.rows, c.left, c.in); got != c.want {
			t.Errorf("%+v: got %q", c, got)
		}
	}
}

func TestWhatAnImportShowsIsTakenOffTheScreen(t *testing.T) {
	var out strings.Builder
	b := &importBar{out: &out, writer: pretty.NewWriter(), tables: map[string]*importBarTable{}, rendered: make(chan struct{})}
	b.writer.SetOutputWriter(&out)
	b.see(legacy.Event{Table: "orders", Rows: 5, Of: 10})
	b.see(legacy.Event{Table: "notes", Rows: 7, Of: 7, End: true})
	b.end(true)
	b.see(legacy.Event{Table: "late", Rows: 1})
	b.end(false)
	if clear := strings.Repeat(text.CursorUp.Sprint()+text.EraseLine.Sprint(), 2); !strings.HasSuffix(out.String(), clear) || strings.Contains(out.String(), "late") {
		t.Errorf("got %q", out.String())
	}
}
