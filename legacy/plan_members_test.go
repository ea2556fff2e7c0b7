package legacy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
)

// membersShop is a source whose users belong to tenants through memberships.
func membersShop() ([]*sourceTable, target) {
	key := func(table, column string) foreignKey {
		return foreignKey{columns: []string{column}, table: table, references: []string{"id"}}
	}
	src := []*sourceTable{
		{name: "accounts", primaryKey: []string{"id"}, columns: []sourceColumn{intColumn("id"), intColumn("parent_id")}, foreignKeys: []foreignKey{key("accounts", "parent_id")}},
		{name: "users", primaryKey: []string{"id"}, columns: []sourceColumn{intColumn("id"), textColumn("email", 0), textColumn("Password_Hash", 0)}},
		{name: "memberships", primaryKey: []string{"id"}, columns: []sourceColumn{intColumn("id"), intColumn("user_id"), intColumn("account_id")}, foreignKeys: []foreignKey{key("users", "user_id"), key("accounts", "account_id")}},
		{name: "orders", primaryKey: []string{"id"}, columns: []sourceColumn{intColumn("id"), intColumn("account_id"), intColumn("by"), intColumn("country"), textColumn("note", 0), textColumn("more", 0)}, foreignKeys: []foreignKey{key("users", "by"), key("accounts", "account_id"), key("countries", "country")}},
		{name: "countries", primaryKey: []string{"id"}, columns: []sourceColumn{intColumn("id"), textColumn("name", 0)}},
		{name: "api_clients", primaryKey: []string{"id"}, columns: []sourceColumn{intColumn("id"), textColumn("client_secret", 0)}},
		{name: "v1", view: true},
		{name: "v2", view: true},
	}
	tgt := target{}
	for _, t := range src[:6] {
		m := &targetTable{name: t.name, foreignKeys: t.foreignKeys}
		for _, c := range t.columns {
			m.columns = append(m.columns, targetColumn{name: c.name, typ: c.typ, kind: c.kind})
		}
		tgt[t.name] = m
	}
	return src, tgt
}

func TestPlansTheWayToTheMembersTenants(t *testing.T) {
	src, tgt := membersShop()
	p := plan(PlanOptions{Key: "account_id", TenantsTable: "accounts", SourceSpec: &SourceSpec{URL: "postgres://h/d"}}, src, tgt)
	m := golden(t, "plan_members", p)
	i := slices.IndexFunc(m.Tables, func(t *Table) bool { return t.From == "users" })
	if u := m.Tables[i]; !u.toMany() || u.Shared != "" || u.Via[0].Table != "memberships" || u.Key != "account_id" {
		t.Errorf("got %+v", u)
	}
	notes := strings.Join(p.Notes, "\n")
	for _, want := range []string{
		"views are left out: v1, v2", "api_clients: it has client_secret: copy would give them to every tenant",
		"users: each row goes to every tenant that a row of memberships leads to; it has email, Password_Hash",
		"accounts refers to itself by parent_id, and each tenant gets its own row alone",
	} {
		if !strings.Contains(notes, want) {
			t.Errorf("no note says %q:\n%s", want, notes)
		}
	}
	if faults := m.check(map[string][]*sourceTable{"legacy": src}, tgt); len(faults) > 0 {
		t.Errorf("the plan does not load: %q", faults)
	}
}

func TestPlanSeesKeysThatAreEqualByTheCollationAlone(t *testing.T) {
	const want = `devices.account: 2 rows have a key that is a tenant's by the source's collation alone, such as "acme" for "ACME": they are rejected`
	check := func(src source, schema string) {
		t.Helper()
		tables, err := src.describe(context.Background(), nil)
		if err != nil {
			t.Fatal(err)
		}
		o := PlanOptions{Key: "account", TenantsTable: "accounts", SourceSpec: &SourceSpec{URL: schema + "://h/d"}, SameKeys: func(table, column, tenants, key string) (sameKeys, error) {
			return src.(keyComparer).sameKeys(context.Background(), table, column, tenants, key)
		}}
		p := plan(o, tables, target{"devices": &targetTable{name: "devices", columns: []targetColumn{{name: "id", typ: "integer", kind: kindInt}}}})
		if !slices.ContainsFunc(p.Notes, func(n string) bool { return strings.HasPrefix(n, want) }) {
			t.Errorf("got %q", p.Notes)
		}
	}
	maria, _, _ := mariaWith(t, "CREATE TABLE accounts (account VARCHAR(20) PRIMARY KEY)", "INSERT INTO accounts VALUES ('ACME'), ('other')",
		"CREATE TABLE devices (id INT PRIMARY KEY, account VARCHAR(20))", "INSERT INTO devices VALUES (1, 'ACME'), (2, 'acme'), (3, 'acme '), (4, 'other'), (5, 'gone'), (6, NULL)")
	check(maria, "mysql")
	s := newStand(t, "CREATE TABLE nothing (id int)", fmt.Sprintf(`CREATE COLLATION nocase (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
		CREATE TABLE accounts (account text COLLATE nocase PRIMARY KEY); INSERT INTO accounts VALUES ('ACME'), ('other');
		CREATE TABLE devices (id int PRIMARY KEY, account text COLLATE nocase); INSERT INTO devices VALUES (1, 'ACME'), (2, 'acme'), (3, 'Acme'), (4, %s)`, "'other'"))
	src, err := openPostgres(t.Context(), &SourceSpec{Schema: "old"}, s.url, "old")
	if err != nil {
		t.Fatal(err)
	}
	defer src.close()
	tables, err := src.describe(t.Context(), nil)
	if err != nil || len(tables) == 0 {
		t.Fatal(err)
	}
	found, err := src.(keyComparer).sameKeys(t.Context(), "devices", "account", "accounts", "account")
	if err != nil || found != (sameKeys{2, "Acme", "ACME"}) {
		t.Errorf("got %+v, %v", found, err)
	}
}
