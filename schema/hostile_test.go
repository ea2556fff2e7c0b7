package schema

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

// hostile is code of each family that a tenant can write, which tries on every run to become the provisioning role, to read
// the catalog, to read another tenant's table, and to give itself rights. What gets through is noted in its own table.
const hostile = `CREATE TABLE a_seen (what text);
CREATE FUNCTION noted(what text, try text) RETURNS void LANGUAGE plpgsql AS $$ BEGIN
	EXECUTE try; INSERT INTO {S}.a_seen VALUES (what);
EXCEPTION WHEN OTHERS THEN NULL; END $$;
CREATE FUNCTION tries(via text) RETURNS boolean LANGUAGE plpgsql VOLATILE AS $$ BEGIN
	PERFORM {S}.noted(via || ': catalog', 'SELECT 1 FROM tenantctl.tenants');
	PERFORM {S}.noted(via || ': role', 'SET LOCAL ROLE {P}');
	PERFORM {S}.noted(via || ': role after reset', 'SET LOCAL ROLE NONE; SET LOCAL ROLE {P}');
	PERFORM {S}.noted(via || ': catalog after reset', 'SET LOCAL ROLE NONE; SELECT 1 FROM tenantctl.tenants');
	PERFORM {S}.noted(via || ': other tenant', 'SELECT 1 FROM {O}.customers');
	PERFORM {S}.noted(via || ': other tenant after reset', 'SET LOCAL ROLE NONE; SELECT 1 FROM {O}.customers');
	PERFORM {S}.noted(via || ': rights', 'GRANT USAGE ON SCHEMA {O} TO {W}');
	PERFORM {S}.noted(via || ': superuser', 'CREATE ROLE hostile SUPERUSER');
	IF session_user = '{P}' OR current_user = '{P}' THEN INSERT INTO {S}.a_seen VALUES (via || ' as the provisioning role'); END IF;
	INSERT INTO {S}.a_seen VALUES ('ran ' || via);
	RETURN true; END $$;
CREATE FUNCTION pure(via text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN RETURN {S}.tries(via); END $$;
CREATE FUNCTION as_definer(via text) RETURNS boolean LANGUAGE plpgsql IMMUTABLE SECURITY DEFINER AS $$ BEGIN RETURN {S}.tries(via); END $$;
CREATE DOMAIN d AS int CHECK ({S}.pure('domain') AND VALUE > 0);
CREATE TYPE c AS (i int);
CREATE FUNCTION cast_c(c) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM {S}.tries('cast'); RETURN '(1)'; END $$;
CREATE CAST (c AS text) WITH FUNCTION cast_c(c) AS ASSIGNMENT;
CREATE FUNCTION same(int, int) RETURNS boolean LANGUAGE plpgsql IMMUTABLE AS $$ BEGIN PERFORM {S}.tries('operator'); RETURN $1 = $2; END $$;
CREATE OPERATOR === (LEFTARG = int, RIGHTARG = int, FUNCTION = same);
CREATE FUNCTION on_row() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM {S}.tries('trigger'); RETURN NEW; END $$;
CREATE TABLE t (i int, v d DEFAULT 1, k c DEFAULT ROW(1), w boolean DEFAULT pure('default'), g boolean GENERATED ALWAYS AS (pure('generated column')) STORED,
	CHECK (as_definer('SECURITY DEFINER')), CHECK (i OPERATOR(===) i), CHECK (pure('check')));
INSERT INTO t (i) VALUES (1), (2);
CREATE INDEX ON t (pure('index expression'));
CREATE INDEX ON t (i) WHERE pure('index predicate');
CREATE STATISTICS st ON (pure('statistics')), i FROM t;
CREATE TRIGGER tr BEFORE INSERT ON t FOR EACH ROW EXECUTE FUNCTION on_row();
CREATE VIEW vw AS SELECT i FROM t WHERE tries('view');
CREATE MATERIALIZED VIEW mv AS SELECT i, pure('materialised view') AS p FROM t;
CREATE RULE ru AS ON INSERT TO t DO ALSO SELECT tries('rule');
CREATE POLICY po ON t USING (pure('policy'));
TRUNCATE a_seen;`

// whatRan is what the hostile code did, where it got through, and which of it was run at all.
func (b bench) whatRan(schema string) (through, ran string) {
	b.t.Helper()
	super := b.super()
	const list = "SELECT coalesce(string_agg(DISTINCT what, ', '), '') FROM %s.a_seen WHERE what %s 'ran %%'"
	return scalar(b.t, super, fmt.Sprintf(list, schema, "NOT LIKE")), scalar(b.t, super, fmt.Sprintf(list, schema, "LIKE"))
}

func TestNothingThatATenantWroteRunsAsTheOperatorWhenItIsLoaded(t *testing.T) {
	t.Parallel()
	b := newBench(t, example)
	b.catalog()
	other := b.created("globex")
	from, app := b.owned("evil")
	owner := from.Schema + "_app"
	provisioner := b.pool.Config().ConnConfig.User
	code := strings.NewReplacer("{S}", from.Schema, "{P}", provisioner, "{O}", other.Schema, "{W}", owner).Replace(hostile)
	for _, s := range statementsOf(code) {
		_, err := app.Exec(t.Context(), s.text)
		must(t, err)
	}
	m := b.dump(from)
	check := func(to tenant.Tenant, by string) {
		t.Helper()
		through, ran := b.whatRan(to.Schema)
		if through != "" {
			t.Errorf("%s lets through: %s", by, through)
		}
		for _, family := range []string{"domain", "check", "SECURITY DEFINER", "operator", "index expression", "index predicate", "generated column", "materialised view"} {
			if !strings.Contains(ran, "ran "+family) {
				t.Errorf("%s did not run the %s, so that it proves nothing: %s", by, family, ran)
			}
		}
		if n := scalar(t, b.super(), "SELECT count(*) FROM pg_proc WHERE prosecdef AND proowner = "+text(provisioner)+"::regrole AND pronamespace = "+text(to.Schema)+"::regnamespace"); n != "0" {
			t.Errorf("%s makes %s SECURITY DEFINER routines the provisioning role's", by, n)
		}
		if n := scalar(t, b.super(), "SELECT count(*) FROM information_schema.role_usage_grants WHERE grantee = "+text(owner)+" AND object_schema = "+text(other.Schema)); n != "0" {
			t.Errorf("%s gives rights on another tenant's schema", by)
		}
	}
	for _, c := range []struct {
		name, owner string
		role        bool
	}{{"as-owner", owner, false}, {"for-all", "", true}, {"for-nobody", "", false}} {
		to := b.tenant(c.name)
		o := tenant.LoadOptions{Owner: c.owner, Log: func(string) {}}
		if c.role {
			o.Role, o.MakeRole = to.Role, true
		}
		must(t, m.into(t.Context(), b.Resource, to, o, 1<<20))
		check(to, "a load "+c.name)
	}
	to := b.tenant("copy")
	must(t, b.Clone(context.WithoutCancel(t.Context()), from, to, true))
	check(to, "a clone")
	if is := b.scalar("SELECT count(*) FROM pg_class WHERE relnamespace = '%s'::regnamespace AND relowner <> '%s'::regrole", to.Schema, owner); is != "0" {
		t.Errorf("%s relations of the clone are not the owner's", is)
	}
	if n := b.workers(); n != "0" {
		t.Errorf("%s logins are left", n)
	}
}
