package cmd_test

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5"

	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

// djangoFleet is what django-tenants has in a database: its own tables in public, and schemas of the role that owns and
// migrates them, for which a second role is the application's login. The owner has written a trigger.
const djangoFleet = `
CREATE TABLE public.customers_client (id bigserial PRIMARY KEY, schema_name varchar(63) NOT NULL UNIQUE, name varchar(100) NOT NULL);
CREATE TABLE public.customers_domain (id bigserial PRIMARY KEY, domain varchar(253) NOT NULL UNIQUE, is_primary boolean NOT NULL, tenant_id bigint NOT NULL);
INSERT INTO public.customers_client (schema_name, name) VALUES ('acme', 'Acme'), ('globex', 'Globex'), ('soylent', 'Soylent');
GRANT SELECT ON public.customers_client, public.customers_domain TO PUBLIC;
CREATE ROLE $OWNER LOGIN PASSWORD 'owner-secret';
CREATE ROLE $APP LOGIN PASSWORD 'app-secret';
GRANT $OWNER TO $PROVISIONER WITH ADMIN OPTION;
GRANT CREATE ON DATABASE $DATABASE TO $OWNER;
SET ROLE $OWNER;
ALTER DEFAULT PRIVILEGES GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO $APP;
ALTER DEFAULT PRIVILEGES GRANT USAGE ON SEQUENCES TO $APP;
ALTER DEFAULT PRIVILEGES GRANT USAGE ON SCHEMAS TO $APP;
DO $$ DECLARE s text; BEGIN
	FOREACH s IN ARRAY ARRAY['acme', 'globex', 'soylent'] LOOP
		EXECUTE format('CREATE SCHEMA %1$I; SET LOCAL search_path = %1$I', s);
		CREATE TABLE shop_order (id bigserial NOT NULL PRIMARY KEY, number varchar(20) NOT NULL, loud text);
		CREATE FUNCTION louder() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.loud := upper(NEW.number); RETURN NEW; END';
		CREATE TRIGGER louder BEFORE INSERT OR UPDATE ON shop_order FOR EACH ROW EXECUTE FUNCTION louder();
		CREATE VIEW loud_ones AS SELECT loud FROM shop_order;
		CREATE TABLE django_migrations (id bigserial NOT NULL PRIMARY KEY, app varchar(255) NOT NULL, name varchar(255) NOT NULL, applied timestamptz NOT NULL);
		INSERT INTO django_migrations (app, name, applied) VALUES ('shop', '0001_initial', now());
		INSERT INTO shop_order (number) VALUES ('first');
	END LOOP;
END $$;`

const djangoFirst = `-- +goose Up
CREATE TABLE shop_order (id bigserial NOT NULL PRIMARY KEY, number varchar(20) NOT NULL, loud text);
-- +goose StatementBegin
CREATE FUNCTION louder() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN NEW.loud := upper(NEW.number); RETURN NEW; END';
-- +goose StatementEnd
CREATE TRIGGER louder BEFORE INSERT OR UPDATE ON shop_order FOR EACH ROW EXECUTE FUNCTION louder();
CREATE VIEW loud_ones AS SELECT loud FROM shop_order;
CREATE TABLE django_migrations (id bigserial NOT NULL PRIMARY KEY, app varchar(255) NOT NULL, name varchar(255) NOT NULL, applied timestamptz NOT NULL);
`

// application is an adopted fleet's two logins.
type application struct {
	*bench
	owner, app string
	logins     map[string]*pgx.ConnConfig
}

// newApplication makes the fleet, with tenants that no role of tenantctl's is made for.
func newApplication(t *testing.T) *application {
	t.Helper()
	b := newBench(t)
	prov, err := pgx.ParseConfig(b.postgres)
	if err != nil {
		t.Fatal(err)
	}
	a := &application{bench: b, owner: b.prefix + "django", app: b.prefix + "app", logins: map[string]*pgx.ConnConfig{}}
	names := strings.NewReplacer("$OWNER", a.owner, "$APP", a.app, "$PROVISIONER", prov.User, "$DATABASE", prov.Database)
	if _, err := querySQL(context.Background(), b.as(t, tenanttest.SuperuserURL(t)), names.Replace(djangoFleet)); err != nil {
		t.Fatal(err)
	}
	for role, password := range map[string]string{a.owner: "owner-secret", a.app: "app-secret"} {
		cfg := prov.Copy()
		cfg.User, cfg.Password = role, password
		a.logins[role] = cfg
	}
	dir := filepath.Join(b.dir, "migrations/postgres")
	if err := os.RemoveAll(dir); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	b.write(t, "migrations/postgres/00001_shop_0001_initial.sql", djangoFirst)
	return a
}

// works fails where one of the logins cannot read or write in a schema, or something in it is not its owner's.
func (a *application) works(t *testing.T, when string, schemas ...string) {
	t.Helper()
	ctx := context.Background()
	for role, cfg := range a.logins {
		conn, err := pgx.ConnectConfig(ctx, cfg)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range schemas {
			var loud, first string
			in := pgx.Identifier{s}.Sanitize()
			if err := conn.QueryRow(ctx, "INSERT INTO "+in+".shop_order (number) VALUES ('more') RETURNING loud").Scan(&loud); err != nil || loud != "MORE" {
				t.Errorf("%s %s cannot write in schema %s: %q %v", when, role, s, loud, err)
			}
			if err := conn.QueryRow(ctx, "SELECT loud FROM "+in+".loud_ones WHERE loud = 'FIRST'").Scan(&first); err != nil {
				t.Errorf("%s %s cannot read in schema %s: %v", when, role, s, err)
			}
		}
		_ = conn.Close(ctx)
	}
	for _, s := range schemas {
		others := a.column(t, `SELECT o.name || ' of ' || pg_get_userbyid(o.owner) FROM pg_namespace n JOIN (
			SELECT oid, nspname, nspowner FROM pg_namespace UNION ALL SELECT relnamespace, relname, relowner FROM pg_class
			UNION ALL SELECT pronamespace, proname, proowner FROM pg_proc UNION ALL SELECT typnamespace, typname, typowner FROM pg_type) o(nsp, name, owner) ON o.nsp = n.oid
			WHERE n.nspname = $1 AND pg_get_userbyid(o.owner) <> $2`, s, a.owner)
		if len(others) > 0 {
			t.Errorf("%s this is not the owner's in schema %s: %q", when, s, others)
		}
	}
	if left := a.column(t, `SELECT rolname::text FROM pg_roles WHERE rolname LIKE '%$work%' AND pg_has_role(rolname, $1, 'MEMBER')`, a.owner); len(left) > 0 {
		t.Errorf("%s these logins are left: %q", when, left)
	}
}

func TestTheApplicationOfAnAdoptedFleetReadsAndWritesAfterEachChange(t *testing.T) {
	a := newApplication(t)
	a.must(t, "init")
	a.must(t, "adopt", "--from", "django-tenants", "--version", "history")
	a.works(t, "after the adoption", "acme", "globex")
	a.must(t, "verify")

	a.write(t, "migrations/postgres/00002_invoices.sql", "-- +goose Up\nCREATE TABLE shop_invoice (id bigserial PRIMARY KEY, order_id bigint REFERENCES shop_order);\nALTER TABLE shop_order ADD COLUMN note text DEFAULT 'new';\nUPDATE shop_order SET note = 'old';\n-- +goose Down\nDROP TABLE shop_invoice;\nALTER TABLE shop_order DROP COLUMN note;\n")
	a.write(t, "migrations/postgres/00003_index.sql", "-- +goose NO TRANSACTION\n-- +goose Up\nCREATE INDEX CONCURRENTLY shop_order_note ON shop_order (note);\n-- +goose Down\nDROP INDEX CONCURRENTLY shop_order_note;\n")
	a.must(t, "migrate")
	a.works(t, "after a migration", "acme", "globex")
	a.must(t, "migrate", "redo", "globex", "--only", "postgres", "--yes")
	a.works(t, "after a migration was done again", "acme", "globex")
	a.must(t, "exec", "acme", "--ddl", "--yes", "--", "CREATE TABLE notes (id int)")
	a.must(t, "exec", "acme", "--ddl", "--yes", "--", "DROP TABLE notes")
	a.must(t, "exec", "globex", "--ddl", "--yes", "--", "DROP INDEX shop_order_note")
	a.exits(t, 6, "verify")
	a.must(t, "verify", "--fix", "--yes", "--drift")
	a.works(t, "after a mending", "acme", "globex")

	a.must(t, "backup", "--all")
	a.works(t, "after a backup", "acme", "globex")
	a.must(t, "restore", "acme@latest", "--yes")
	a.works(t, "after a restore", "acme", "globex")
	a.must(t, "restore", "globex@latest", "--as", "initech")
	a.must(t, "clone", "acme", "hooli")
	schemas := []string{"acme", "globex", a.schemaOf(t, "initech"), a.schemaOf(t, "hooli")}
	a.works(t, "after a clone", schemas...)
	a.must(t, "delete", "globex", "--yes")
	a.must(t, "undelete", "globex")
	a.works(t, "after a deletion that was taken back", schemas...)

	a.write(t, "migrations/postgres/00004_more.sql", "-- +goose Up\nCREATE TABLE shop_more (id int);\n")
	a.must(t, "migrate")
	a.works(t, "after a migration of all", schemas...)
	for _, s := range schemas {
		if can := a.column(t, `SELECT has_table_privilege($1, $2::regclass, 'INSERT')::text`, a.app, pgx.Identifier{s}.Sanitize()+".shop_more"); !slices.Equal(can, []string{"true"}) {
			t.Errorf("the application may not write what the last migration made in schema %s", s)
		}
	}
	a.must(t, "verify")
	if adopted := a.column(t, `SELECT name FROM tenantctl.tenants WHERE NOT adopted`); len(adopted) > 0 {
		t.Errorf("these are no adopted tenants any more: %q", adopted)
	}
}

// schemaOf is the schema of a tenant.
func (a *application) schemaOf(t *testing.T, name string) string {
	t.Helper()
	return a.column(t, `SELECT schema_name FROM tenantctl.tenants WHERE name = $1`, name)[0]
}
