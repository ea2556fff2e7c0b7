package schema

import (
	"fmt"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

// A process of its own for each tenant is what goose gives; here all of them share one connection.
func TestNothingThatAFileLeavesReachesTheNextTenant(t *testing.T) {
	t.Parallel()
	const table = "-- +goose Up\nCREATE TABLE a (id int, v text);\nINSERT INTO a VALUES (1, 'x');"
	for name, c := range map[string]struct{ file, read, want string }{
		"a temporary table": {
			"CREATE TEMP TABLE IF NOT EXISTS stage (v text);\nINSERT INTO stage VALUES (current_schema());\nUPDATE a SET v = (SELECT count(*) FROM stage);",
			"SELECT v FROM %s.a", "1",
		},
		"a function in pg_temp": {
			"-- +goose StatementBegin\nCREATE FUNCTION pg_temp.f() RETURNS text LANGUAGE sql AS $$ SELECT 'f' $$;\n-- +goose StatementEnd\nUPDATE a SET v = pg_temp.f();",
			"SELECT v FROM %s.a", "f",
		},
		"a prepared statement": {"PREPARE p AS SELECT 1;", "SELECT v FROM %s.a", "x"},
		"a time zone":          {"UPDATE a SET v = current_setting('timezone');\nSET TIME ZONE 'America/Sao_Paulo';", "SELECT v <> 'America/Sao_Paulo' FROM %s.a", "true"},
		"a setting of one's own": {
			"UPDATE a SET v = coalesce(current_setting('app.owner', true), 'nothing');\nSELECT set_config('app.owner', current_schema(), false);",
			"SELECT v FROM %s.a", "nothing",
		},
		"replication": {"UPDATE a SET v = current_setting('client_min_messages');\nSET client_min_messages = 'error';", "SELECT v FROM %s.a", "notice"},
		"an advisory lock": {
			"UPDATE a SET v = (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND objid = 4711 AND database = (SELECT oid FROM pg_database WHERE datname = current_database()));\nSELECT pg_advisory_lock(4711);",
			"SELECT v FROM %s.a", "0",
		},
		"a channel": {"UPDATE a SET v = (SELECT count(*) FROM pg_listening_channels());\nLISTEN news;", "SELECT v FROM %s.a", "0"},
		"a cursor": {
			"UPDATE a SET v = (SELECT count(*) FROM pg_cursors WHERE name = 'c');\nDECLARE c CURSOR WITH HOLD FOR SELECT 1;",
			"SELECT v FROM %s.a", "0",
		},
		"a sequence's last value": {
			"CREATE SEQUENCE s;\nSELECT nextval('s');\n-- +goose StatementBegin\nDO $$ BEGIN PERFORM lastval(); END $$;\n-- +goose StatementEnd\nUPDATE a SET v = lastval();",
			"SELECT v FROM %s.a", "1",
		},
	} {
		for _, header := range []string{"", "-- +goose NO TRANSACTION\n"} {
			t.Run(strings.TrimSpace(header+name), func(t *testing.T) {
				t.Parallel()
				b := newBench(t, folder(t, map[string]string{"00001_a.sql": table, "00002_b.sql": header + "-- +goose Up\n" + c.file}), func(c *Config) { c.MaxConnections = 1 })
				for i := range 3 {
					tn := b.created(fmt.Sprintf("acme%d", i))
					if got := b.scalar(c.read, tn.Schema); got != c.want {
						t.Errorf("tenant %d has %q, want %q", i, got, c.want)
					}
				}
				if n := b.scalar("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"); n != "0" {
					t.Errorf("%s advisory locks are left", n)
				}
			})
		}
	}
}

// Within a tenant's run they are there, as in goose's one process.
func TestWhatAFileLeavesIsThereForTheNextFileOfTheRun(t *testing.T) {
	t.Parallel()
	b := newBench(t, folder(t, map[string]string{
		"00001_a.sql": "-- +goose Up\nCREATE TABLE a (tz text, n bigint);",
		"00002_b.sql": "-- +goose Up\nSET TIME ZONE 'America/Sao_Paulo';\nCREATE TEMP TABLE stage AS SELECT 7 AS n;",
		"00003_c.sql": "-- +goose NO TRANSACTION\n-- +goose Up\nSET application_name = 'three';",
		"00004_d.sql": "-- +goose Up\nINSERT INTO a SELECT current_setting('timezone') || current_setting('application_name'), n FROM stage;",
	}))
	for i := range 2 {
		tn := b.created(fmt.Sprintf("acme%d", i))
		if got := b.scalar("SELECT tz || n FROM %s.a", tn.Schema); got != "America/Sao_Paulothree7" {
			t.Errorf("it has %q", got)
		}
	}
}

func TestAFileThatEndsElsewhereOrAsAnotherIsTakenBackAndNamed(t *testing.T) {
	t.Parallel()
	b := newBench(t, "", func(c *Config) { c.LockRetries = 1 })
	b.asSuper("CREATE SCHEMA other; GRANT ALL ON SCHEMA other TO %sprovisioner")
	b.asSuper("CREATE ROLE %[1]sguest; GRANT %[1]sguest TO %[1]sprovisioner; GRANT CREATE ON SCHEMA other TO %[1]sguest")
	b.exec(`CREATE FUNCTION other.enter(text) RETURNS void LANGUAGE sql AS $$ SELECT set_config('search_path', $1, false) $$`)
	for name, c := range map[string]struct{ file, says string }{
		"set schema":             {"SET SCHEMA 'other';\nCREATE TABLE IF NOT EXISTS b (id int);", "search_path"},
		"set session path":       {"SET SESSION search_path TO other;", "search_path"},
		"set local path":         {"SET LOCAL search_path = other;", "search_path"},
		"a path that is longer":  {"SELECT set_config('search_path', current_schema() || ',other', false);", "search_path"},
		"an empty path":          {"SET search_path = '';", "search_path"},
		"a function":             {"SELECT other.enter('other');", "search_path"},
		"a block":                {"-- +goose StatementBegin\nDO $$ BEGIN EXECUTE 'SET SCH' || 'EMA ''other'''; END $$;\n-- +goose StatementEnd", "search_path"},
		"reset":                  {"RESET search_path;", "search_path"},
		"a role":                 {"SET ROLE " + b.prefix + "guest;", "role"},
		"a role by set_config":   {"SELECT set_config('role', '" + b.prefix + "guest', true);", "role"},
		"a role of a block":      {"-- +goose StatementBegin\nDO $$ BEGIN EXECUTE 'SET RO' || 'LE " + b.prefix + "guest'; END $$;\n-- +goose StatementEnd", "role"},
		"a session of a role":    {"SET LOCAL ROLE " + b.prefix + "guest;", "role"},
		"a path of a savepoint":  {"SAVEPOINT a;\nSET search_path = other;\nRELEASE a;", "search_path"},
		"a path through comment": {"SET /* a */ search_path /* b */ = other;", "search_path"},
	} {
		for _, header := range []string{"", "-- +goose NO TRANSACTION\n"} {
			if strings.Contains(c.file, "LOCAL") && header != "" || strings.Contains(c.file, "true)") && header != "" || strings.Contains(c.file, "SAVEPOINT") && header != "" {
				continue // of a transaction
			}
			t.Run(strings.TrimSpace(header+name), func(t *testing.T) {
				r := b.over(folder(t, map[string]string{"00001_a.sql": "-- +goose Up\nCREATE TABLE a (id int);", "00002_b.sql": header + "-- +goose Up\n" + c.file, "00003_c.sql": "-- +goose Up\nCREATE TABLE c (id int);"}))
				r.t = t
				tn := r.tenant(strings.NewReplacer(" ", "-", "_", "-").Replace(fmt.Sprint(name, len(header))))
				e := refused(t, r.Create(t.Context(), tn), tenant.ErrMigration, "00002_b.sql: ", c.says)
				if e.Code != strayed || e.Hint == "" {
					t.Errorf("the code is %s, the hint %q", e.Code, e.Hint)
				}
				if got := r.scalar("(SELECT max(version_id) FROM %s.goose_db_version)", tn.Schema); got != "1" {
					t.Errorf("the version is %s", got)
				}
				if n := r.scalar("SELECT count(*) FROM pg_class WHERE relnamespace = 'other'::regnamespace"); n != "0" && header == "" {
					t.Errorf("%s objects landed elsewhere", n)
				}
			})
			b.exec("DROP TABLE IF EXISTS other.b")
		}
	}
}

func TestAFileThatIsPendingAgainEndsTheRun(t *testing.T) {
	t.Parallel()
	const forget = "-- +goose Up\n-- +goose StatementBegin\nCREATE FUNCTION forget() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;\n-- +goose StatementEnd\n" +
		"CREATE TRIGGER forget BEFORE INSERT ON goose_db_version FOR EACH ROW EXECUTE FUNCTION forget();"
	b := newBench(t, folder(t, map[string]string{"00001_a.sql": forget, "00002_b.sql": "-- +goose Up\nSELECT 1;"}))
	err := b.Create(t.Context(), b.tenant("acme"))
	e := refused(t, err, tenant.ErrMigration, "00001_a.sql", "goose_db_version")
	if e.Code != "pending_again" {
		t.Errorf("the code is %q", e.Code)
	}
}
