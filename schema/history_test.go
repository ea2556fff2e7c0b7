package schema

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/schema/migrationfile"
	"github.com/tenantctl/tenantctl/tenant"
)

func numbered(names ...string) *migrationfile.Set {
	set := &migrationfile.Set{ByVersion: map[int64]*migrationfile.File{}}
	for _, n := range names {
		m := &migrationfile.File{}
		var rest string
		_, _ = fmt.Sscanf(n, "%d_%s", &m.Version, &rest) // the names are the test's own
		m.Name, m.Path = rest, n+".sql"
		set.List, set.ByVersion[m.Version] = append(set.List, m), m
	}
	return set
}

// What a history tells is a version only where it names all files up to one, and nothing later that is unknown here.
func TestAHistoryTellsTheVersionOrIsRefused(t *testing.T) {
	t.Parallel()
	shop := numbered("1_shop_0001_initial", "2_billing_0001_initial", "5_shop_0003_price", "7_own_change")
	rails := numbered("20240101120000_base", "20240201120000_price", "20240301120000_note")
	golang := numbered("1_a", "2_b", "10_c")
	twins := numbered("1_shop_0001_initial", "2_shop_0001_initial")
	django, version, newest, migrator := histories[0], histories[1], histories[2], histories[3]
	for _, c := range []struct {
		name    string
		files   *migrationfile.Set
		of      history
		entries string // group/key
		version int64
		rest    int
		refused string
	}{
		{"django", shop, django, "shop/shop_0001_initial billing/billing_0001_initial", 2, 0, ""},
		{"apps without a file here do not count", shop, django, "auth/auth_0012_x shop/shop_0001_initial billing/billing_0001_initial auth/auth_0001_initial", 2, 2, ""},
		{"entries older than the first with a file are part of it", numbered("3_shop_0003_price"), django, "shop/shop_0001_initial shop/shop_0002_note shop/shop_0003_price", 3, 2, ""},
		{"a later one of the same app is unknown", shop, django, "shop/shop_0001_initial shop/shop_0002_note billing/billing_0001_initial", 0, 0, "has what no file here answers to: shop_0002_note"},
		{"one in between is missing", shop, django, "shop/shop_0001_initial shop/shop_0003_price", 0, 0, "names 5_shop_0003_price.sql, and not what comes before it: 2_billing_0001_initial.sql"},
		{"none is named", shop, django, "auth/auth_0001_initial", 0, 0, "names none of the files here"},
		{"two files have the name", twins, django, "shop/shop_0001_initial", 0, 0, "could be 1_shop_0001_initial.sql or 2_shop_0001_initial.sql"},
		{"two entries have the name", shop, django, "shop/shop_0001_initial shop_0001/shop_0001_initial", 0, 0, "two entries for 1_shop_0001_initial.sql"},

		{"rails", rails, version, "/20240101120000 /20240201120000", 20240201120000, 0, ""},
		{"in any order", rails, version, "/20240301120000 /20240201120000 /20240101120000", 20240301120000, 0, ""},
		{"zeros before it", golang, version, "/001 /0002", 2, 0, ""},
		{"what is older than the first file is part of it", rails, version, "/20220101120000 /20230101120000 /20240101120000", 20240101120000, 2, ""},
		{"older ones alone", rails, version, "/20220101120000 /20230101120000", 0, 0, "names none of the files here"},
		{"a newer one is unknown", rails, version, "/20240101120000 /20240401120000", 0, 0, "no file here answers to: 20240401120000"},
		{"one in between is unknown", rails, version, "/20240101120000 /20240115120000 /20240201120000", 0, 0, "no file here answers to: 20240115120000"},
		{"a gap", rails, version, "/20240101120000 /20240301120000", 0, 0, "not what comes before it: 20240201120000_price.sql"},
		{"the first is missing", rails, version, "/20240201120000", 0, 0, "not what comes before it: 20240101120000_base.sql"},
		{"many unknown", golang, version, "/1 /3 /4 /5 /6 /7", 0, 0, "answers to: 3, 4, 5 and 2 more"},
		{"no number", golang, version, "/1 /later", 0, 0, "answers to: later"},

		{"the newest alone", golang, newest, "/2", 2, 0, ""},
		{"the newest alone, past nine", golang, newest, "/10", 10, 0, ""},
		{"the newest is unknown", golang, newest, "/3", 0, 0, "names none of the files here"},
		{"a dirty one", golang, newest, "/2!(dirty)", 0, 0, "names none of the files here"},

		{"migrator", golang, migrator, "/1 /2", 2, 0, ""},
		{"migrator without a number", golang, migrator, "/1 /", 0, 0, "answers to: "},
		{"migrator with one number in two folders", golang, migrator, "/1 /1", 0, 0, "two entries for 1_a.sql"},

		{"no history at all", golang, history{}, "", 0, 0, "schema acme has nothing in django_migrations, schema_migrations or migrator.migrator_migrations"},
	} {
		said := toldBy{history: c.of}
		for _, e := range strings.Fields(c.entries) {
			group, key, _ := strings.Cut(strings.ReplaceAll(e, "!", " "), "/")
			said.entries = append(said.entries, entry{group, key, key})
		}
		got := said.recorded(c.files, "acme")
		switch {
		case c.refused == "" && got.Err != nil:
			t.Errorf("%s: refused: %v", c.name, got.Err)
		case c.refused != "" && (got.Err == nil || !strings.Contains(got.Err.Error(), c.refused)):
			t.Errorf("%s: got version %d, %v; want it refused: %s", c.name, got.Version, got.Err, c.refused)
		case c.refused != "" && tenant.NewFailure(got.Err).Hint == "":
			t.Errorf("%s: refused without a way out", c.name)
		case c.refused == "" && (got.Version != c.version || got.Rest != c.rest || got.History != c.of.table):
			t.Errorf("%s: got version %d of %s with %d others, want %d and %d", c.name, got.Version, got.History, got.Rest, c.version, c.rest)
		}
	}
}
