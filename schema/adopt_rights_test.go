package schema

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/tenantctl/tenantctl/tenant"
)

// TestAdoptRightsAreNamedBeforeAnythingIsWritten runs the statement that a refusal names, and the place can be adopted.
func TestAdoptRightsAreNamedBeforeAnythingIsWritten(t *testing.T) {
	t.Parallel()
	b := newBench(t, one(t, "SELECT 1;"))
	super, me, narrow := b.super(), b.pool.Config().ConnConfig.User, b.major() >= 16
	exec := func(sql string) {
		t.Helper()
		if _, err := super.Exec(t.Context(), sql); err != nil {
			t.Fatalf("%v\n%s", err, sql)
		}
	}
	is := func(wide, narrowly string) string {
		if narrow {
			return narrowly
		}
		return wide
	}
	for _, c := range []struct{ name, before, says, grants string }{
		{"nothing", "", "schema $S belongs to role $O, and postgres.url's is no member of it", is(`GRANT "$O" TO "$P"`, `GRANT "$O" TO "$P" WITH ADMIN TRUE, INHERIT TRUE, SET TRUE`)},
		{
			"membership alone", is("", `GRANT "$O" TO "$P" WITH INHERIT TRUE, SET FALSE`),
			is("no member of it", "is a member of it without ADMIN, SET"), is(`GRANT "$O" TO "$P"`, `GRANT "$O" TO "$P" WITH ADMIN TRUE, INHERIT TRUE, SET TRUE`),
		},
		{
			"an object's owner", `GRANT "$O" TO "$P"` + is("", " WITH ADMIN TRUE, INHERIT TRUE, SET TRUE") + `; CREATE TABLE "$S".other (); ALTER TABLE "$S".other OWNER TO "$X"`,
			"objects in schema $S belong to role $X, and postgres.url's is no member of it", is(`GRANT "$X" TO "$P"`, `GRANT "$X" TO "$P" WITH INHERIT TRUE, SET TRUE`),
		},
		{
			"both", `CREATE FUNCTION "$S".other() RETURNS int LANGUAGE sql AS 'SELECT 1'; ALTER FUNCTION "$S".other() OWNER TO "$X"`,
			"objects in schema $S belong to role $X, and", is(`GRANT "$O" TO "$P"; GRANT "$X" TO "$P"`, `GRANT "$O" TO "$P" WITH ADMIN TRUE, INHERIT TRUE, SET TRUE; GRANT "$X" TO "$P" WITH INHERIT TRUE, SET TRUE`),
		},
		{"the right to make roles", `GRANT "$O" TO "$P"` + is("", " WITH ADMIN TRUE, INHERIT TRUE, SET TRUE") + `; ALTER ROLE "$P" NOCREATEROLE`, "may not make the login that works as it", `ALTER ROLE "$P" CREATEROLE`},
		{"a superuser's", `ALTER ROLE "$O" SUPERUSER`, "schema $S belongs to role $O, a superuser", `ALTER SCHEMA "$S" OWNER TO`},
	} {
		t.Run(c.name, func(t *testing.T) {
			tn := b.tenant("t" + strings.NewReplacer(" ", "-", "'", "").Replace(c.name))
			tn.Role = ""
			as := strings.NewReplacer("$S", tn.Schema, "$O", tn.Schema+"_o", "$X", tn.Schema+"_x", "$P", me)
			exec(as.Replace(`CREATE ROLE "$O" LOGIN; CREATE ROLE "$X"; CREATE SCHEMA "$S" AUTHORIZATION "$O"; ` + c.before))
			ask := func() error {
				found, err := b.Adoptable(t.Context(), []tenant.Adoptee{{Tenant: tn, Adoption: tenant.Adoption{Schema: tn.Schema}}})
				must(t, err)
				return found[0].Err
			}
			err := ask()
			refused(t, err, tenant.ErrRights, as.Replace(c.says), as.Replace(c.grants))
			var e *tenant.Error
			if errors.As(err, &e) && slices.ContainsFunc([]string{"GRANT ", "ALTER ROLE "}, func(begin string) bool { return strings.HasPrefix(e.Hint, begin) }) {
				exec(e.Hint)
				must(t, ask())
			}
		})
	}
}
