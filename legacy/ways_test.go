package legacy

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

const waysModel = `CREATE TYPE mood AS ENUM ('ok', 'bad'); CREATE TABLE users (id int PRIMARY KEY, email text NOT NULL, tags text[]);
	CREATE TABLE roles (id int PRIMARY KEY, name text CHECK (name <> 'bad'), color text); CREATE TABLE totals (id text PRIMARY KEY, n bigint, mood mood)`

const waysOld = `CREATE TABLE firms (id int PRIMARY KEY); INSERT INTO firms VALUES (1), (2), (3);
	CREATE TYPE old.mood AS ENUM ('ok', 'bad');
	CREATE TABLE users (id int PRIMARY KEY, email text, tags text[]);
	INSERT INTO users VALUES (1, 'both@x', '{a,NULL}'), (2, 'one@x', NULL), (3, 'nobody@x', NULL), (4, NULL, '{"b,c"}'), (5, 'half@x', NULL);
	CREATE TABLE teams (id int PRIMARY KEY, firm int); INSERT INTO teams VALUES (10, 1), (20, 2), (21, 2), (30, NULL);
	CREATE TABLE memberships (user_id int, team int); INSERT INTO memberships VALUES (1, 10), (1, 20), (1, 21), (2, 20), (4, 10), (4, 20), (5, 30), (5, 99), (5, NULL);
	CREATE TABLE roles (id int PRIMARY KEY, firm int, name text); INSERT INTO roles VALUES (1, NULL, 'admin'), (2, NULL, 'bad'), (3, 1, 'own'), (4, 2, 'bad')`

const memberWay = "via: [{columns: id, table: memberships, references: user_id, many: true}, {columns: team, table: teams, references: id}], key: firm"

func TestARowGoesToEachTenantWhoseMemberItIs(t *testing.T) {
	s := newStand(t, waysModel, waysOld)
	m := s.mapping("tables:\n  - {from: users, " + memberWay + "}\n")
	r, err := s.run(context.Background(), m, RunRequest{DryRun: true})
	if err != nil || r.Totals.Source != 7 {
		t.Fatalf("dry run: %v\n%s", err, shownAs(r))
	}
	s.load(m, RunRequest{}, 4)
	s.want("SELECT id, email, tags FROM t_f1.users ORDER BY id", "1|both@x|[\"a\",null]")
	s.want("SELECT id FROM t_f2.users ORDER BY id", "1", "2")
	s.want("SELECT count(*) FROM t_f3.users", "0")
	s.want("SELECT code, tenant_key, row_key, reason FROM tenantctl.import_rejects WHERE code = 'orphan' ORDER BY row_key",
		`orphan|NULL|["3"]|no row of memberships leads from it to a tenant`, `orphan|NULL|["5"]|no row of memberships leads from it to a tenant`)
	s.want("SELECT tenant_key, row_key FROM tenantctl.import_rejects WHERE code = '23502' ORDER BY 1", `1|["4"]`, `2|["4"]`)
	s.clean(m)
	// Mended, each goes to the tenant that lacks it.
	file := strings.ReplaceAll(s.rejectsFile(), `"email":null`, `"email":"mended@x"`)
	s.load(m, RunRequest{Rejects: []byte(file)}, 2)
	s.want("SELECT id, email, tags FROM t_f1.users WHERE id = 4 UNION ALL SELECT id, email, tags FROM t_f2.users WHERE id = 4", `4|mended@x|["b,c"]`, `4|mended@x|["b,c"]`)
	s.clean(m)
	s.sql("UPDATE t_f2.users SET email = 'both@y' WHERE id = 1")
	s.differs(m, "users", `["1"]`)
}

func TestOneTenantsMembersAreLoadedAlone(t *testing.T) {
	s := newStand(t, waysModel, waysOld)
	m := s.mapping("tables:\n  - {from: users, " + memberWay + "}\n")
	s.load(m, RunRequest{Tenants: []tenant.Name{"f2"}}, 1)
	s.want("SELECT id FROM t_f2.users ORDER BY id", "1", "2")
}

func TestSeveralEntriesLoadOneTable(t *testing.T) {
	s := newStand(t, waysModel, waysOld)
	m := s.mapping("tables:\n" +
		"  - {from: roles, where: x.firm IS NULL, shared: copy, columns: {name: name, id: id, color: {value: grey}}}\n" +
		"  - {name: own_roles, from: roles, where: x.firm IS NOT NULL, key: firm, to: roles, columns: {id: id, name: name, color: {value: grey}}}\n")
	s.load(m, RunRequest{}, 4)
	s.want("SELECT id, name, color FROM t_f1.roles ORDER BY id", "1|admin|grey", "3|own|grey")
	s.want("SELECT id FROM t_f2.roles ORDER BY id", "1")
	s.want("SELECT target, row_key, count(*) FROM tenantctl.import_rejects GROUP BY 1, 2 ORDER BY 1", `own_roles|["4"]|1`, `roles|["2"]|3`)
	s.clean(m)
	s.sql("UPDATE t_f1.roles SET name = 'other' WHERE id = 3")
	s.differs(m, "roles", `["3"]`)
	s.sql("UPDATE t_f1.roles SET name = 'own' WHERE id = 3; DELETE FROM t_f3.roles")
	s.differs(m, "roles", `["1"]`)
	s.sql("INSERT INTO t_f3.roles VALUES (1, 'admin', 'grey'), (3, 'own', 'grey')")
	s.differs(m, "roles", `["3"]`)
}

func TestEntriesOfOneTableLoadTheSameColumns(t *testing.T) {
	s := newStand(t, waysModel, waysOld)
	for mapping, want := range map[string]string{
		"  - {from: roles, shared: copy, columns: {id: id, name: name}}\n  - {name: own, from: roles, key: firm, to: roles, columns: {id: id}}\n":    "all entries of one table load the same columns",
		"  - {from: roles, shared: copy, mode: replace, columns: {id: id}}\n  - {name: own, from: roles, key: firm, to: roles, columns: {id: id}}\n": "mode: replace would empty roles",
	} {
		_, err := Open(context.Background(), s.mapping("tables:\n"+mapping), s.options)
		if !errors.Is(err, tenant.ErrInvalid) || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
	_, err := LoadBytes("m.yaml", []byte("version: 1\nname: old\nsources: {legacy: {url_env: U}}\ntenants: {from: firms, key: id}\ntables:\n  - {from: roles, shared: copy}\n  - {from: roles, key: firm}\n"))
	if err == nil || !strings.Contains(err.Error(), "give this entry a name of its own with name") {
		t.Errorf("got %v", err)
	}
}

func TestMongoDBKnowsNoWayDownwards(t *testing.T) {
	_, err := LoadBytes("m.yaml", []byte("version: 1\nname: old\nsources: {legacy: {url: mongodb://h/d}}\ntenants: {from: firms, key: _id}\ntables:\n"+
		"  - {from: users, via: [{columns: _id, table: members, references: user, many: true}], key: firm, to_collection: users}\n"))
	if err == nil || !strings.Contains(err.Error(), "via[0].many: a MongoDB source cannot do this") {
		t.Errorf("got %v", err)
	}
}

const totalsQuery = `  - query: |
      SELECT firm, 'roles of ' || firm AS id, count(*) AS n, 'ok'::old.mood AS mood, array_agg(name) AS names, now() AS "at -- the end"
      FROM roles GROUP BY firm -- of each
    primary_key: [id]
    key: firm
    to: totals
    columns: {id: id, n: n, mood: mood}
`

func TestAQueryIsReadLikeATable(t *testing.T) {
	s := newStand(t, waysModel, waysOld)
	m := s.mapping("tables:\n" + totalsQuery)
	r := s.load(m, RunRequest{}, 1)
	s.want("SELECT id, n, mood::text FROM t_f1.totals UNION ALL SELECT id, n, mood::text FROM t_f2.totals", "roles of 1|1|ok", "roles of 2|1|ok")
	if r.Totals.Source != 3 {
		t.Errorf("got %s", shownAs(r))
	}
	var line struct {
		Key json.RawMessage
		Row map[string]any
	}
	if err := json.Unmarshal([]byte(s.rejectsFile()), &line); err != nil || line.Row["names"] != "{admin,bad}" {
		t.Errorf("%v: %+v", err, line)
	}
	s.clean(m)
	s.sql("UPDATE t_f1.totals SET n = 2")
	s.differs(m, "totals", `["roles of 1"]`)
	// The row of the file, mended, is loaded by the query's columns.
	file := strings.NewReplacer(`"firm":null`, `"firm":3`, `"id":null`, `"id":"roles of 3"`).Replace(s.rejectsFile())
	s.load(m, RunRequest{Rejects: []byte(file)}, 0)
	s.want("SELECT id, n FROM t_f3.totals", "roles of 3|2")
	for wrong, want := range map[string]string{
		strings.Replace(totalsQuery, "primary_key: [id]", "primary_key: [nr]", 1): "no column nr of primary_key",
		strings.Replace(totalsQuery, "count(*)", "count(*", 1):                    "look at the query for totals",
	} {
		if _, err := Open(context.Background(), s.mapping("tables:\n"+wrong), s.options); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("got %v, want %s", err, want)
		}
	}
}

func TestMariaDBKnowsTheSameWays(t *testing.T) {
	s := newStand(t, waysModel, `CREATE TABLE firms (id int PRIMARY KEY)`)
	_, _, url := mariaWith(t, "CREATE TABLE firms (id INT PRIMARY KEY)", "INSERT INTO firms VALUES (1), (2)",
		"CREATE TABLE users (id INT PRIMARY KEY, email VARCHAR(50))", "INSERT INTO users VALUES (1, 'both@x'), (2, 'one@x'), (3, 'nobody@x')",
		"CREATE TABLE teams (id INT PRIMARY KEY, firm INT)", "INSERT INTO teams VALUES (10, 1), (20, 2), (21, 2), (30, NULL)",
		"CREATE TABLE memberships (user_id INT, team INT)", "INSERT INTO memberships VALUES (1, 10), (1, 20), (1, 21), (2, 20), (3, 30)",
		"CREATE TABLE roles (id INT PRIMARY KEY, firm INT, name VARCHAR(20))", "INSERT INTO roles VALUES (1, NULL, 'admin'), (3, 1, 'own'), (4, 2, 'bad')")
	t.Setenv("LEGACY_TEST_URL", url)
	m, err := LoadBytes("mapping.yaml", []byte("version: 1\nname: old\nsources: {legacy: {url_env: LEGACY_TEST_URL}}\ntenants: {from: firms, key: id, name: \"concat('f', id)\"}\ntables:\n"+
		"  - {from: users, "+memberWay+", columns: {id: id, email: email}}\n"+
		"  - {from: roles, where: x.firm IS NULL, shared: copy, columns: {id: id, name: name}}\n"+
		"  - {name: own, query: 'SELECT * FROM roles WHERE firm IS NOT NULL -- own', primary_key: id, key: firm, to: roles, columns: {id: id, name: name}}\n"))
	if err != nil {
		t.Fatal(err)
	}
	s.last = m
	s.load(m, RunRequest{}, 2)
	s.want("SELECT 1, id FROM t_f1.users UNION ALL SELECT 2, id FROM t_f2.users ORDER BY 1, 2", "1|1", "2|1", "2|2")
	s.want("SELECT 1, id FROM t_f1.roles UNION ALL SELECT 2, id FROM t_f2.roles ORDER BY 1, 2", "1|1", "1|3", "2|1")
	s.want("SELECT code, target, row_key FROM tenantctl.import_rejects ORDER BY 1", `23514|own|["4"]`, `orphan|users|["3"]`)
	s.clean(m)
	s.load(m, RunRequest{Rejects: []byte(strings.Replace(s.rejectsFile(), `"bad"`, `"good"`, 1))}, 1)
	s.want("SELECT name FROM t_f2.roles WHERE id = 4", "good")
	s.sql("UPDATE t_f2.users SET email = 'x' WHERE id = 1; UPDATE t_f1.roles SET name = 'x' WHERE id = 3")
	s.differs(m, "users", `["1"]`)
	s.differs(m, "roles", `["3"]`)
}
