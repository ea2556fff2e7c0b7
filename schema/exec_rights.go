package schema

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/tenantctl/tenantctl/schema/sqltext"
	"github.com/tenantctl/tenantctl/tenant"
)

// Admit refuses what the server would take for none or several statements or would wait for input to, and what changes more
// than was asked for.
func (r *Resource) Admit(x tenant.Statement) error {
	if err := oneStatement(x.Text); err != nil {
		return err
	}
	tokens, _ := sqltext.Lex(x.Text)
	sql := sqltext.Split(tokens)[0]
	if what := changesStructure(sql); what != "" && !x.DDL && (x.Write || what != "DO") {
		return invalid("write a migration instead: tenantctl migrate new NAME, then tenantctl migrate; or add --ddl",
			"%s can change the structure of tenants behind their migrations", what)
	}
	if what := changesRows(sql); what != "" && !x.Write {
		return invalid("add --write where that is meant", "%s changes rows, and exec only reads", what)
	}
	return nil
}

// structural begin statements that change what migrations made. Of a DO block nobody can tell what it does.
var structural = []string{
	"create", "alter", "drop", "truncate", "comment", "grant", "revoke", "refresh", "reindex", "cluster", "security", "import", "reassign", "do", "call",
}

// changesStructure names how a statement begins that is no work on rows; empty for one that is.
func changesStructure(sql []sqltext.Token) string {
	if sqltext.Begins(sql, "explain") {
		for i := range sql[1:] {
			if sql[1+i].Is("create") || sql[1+i].Is("refresh") {
				return "EXPLAIN of " + strings.ToUpper(sql[1+i].Text)
			}
		}
		return ""
	}
	for _, word := range structural {
		if sqltext.Begins(sql, word) {
			return strings.ToUpper(word)
		}
	}
	for i, t := range sql {
		if t.Is("into") && i > 0 && (sqltext.Begins(sql, "select") || sqltext.Begins(sql, "with")) && !sql[i-1].Is("insert") && !sql[i-1].Is("merge") {
			return "SELECT INTO"
		}
	}
	return ""
}

// changesRows names how a statement begins that is there to change rows. What else would is refused by the server.
func changesRows(sql []sqltext.Token) string {
	for _, word := range []string{"insert", "update", "delete", "merge", "copy"} {
		if sqltext.Begins(sql, word) && (word != "copy" || slices.ContainsFunc(sql, func(t sqltext.Token) bool { return t.Is("from") })) {
			return strings.ToUpper(word)
		}
	}
	return ""
}

// execRights are whose a statement runs with: the tenant's role, or that of the session.
type execRights struct {
	role   string // empty for the session's
	schema string // of a suspended tenant, whose role has lost the way into it; within the transaction it has it
	may    bool   // the session may become the role already
	writes bool
}

// execAs tells with whose rights x runs in t, and asks the server what has to be known for that. A worker's session has the
// owner's rights as it is, and who changes the structure needs them.
func (r *Resource) execAs(t tenant.Tenant, x tenant.Statement) (*execRights, []command) {
	a := &execRights{writes: x.Write}
	if r.keeper != nil || x.AsProvisioner || x.DDL || !r.hasRole(t) {
		return a, nil
	}
	if a.role = t.Role; t.State == tenant.Suspended {
		a.schema = t.Schema
	}
	ask := cmd(`SELECT pg_has_role(r.oid, CASE WHEN current_setting('server_version_num')::int < 160000 THEN 'MEMBER' ELSE 'SET' END)
FROM pg_roles r WHERE r.rolname = %s`, text(t.Role))
	ask.row = func(row [][]byte) { a.may = is(row[0]) }
	return a, []command{ask}
}

// take are the commands after which the session has the rights. Membership ends with the transaction.
func (a *execRights) take() []command {
	var all []command
	if a.role != "" && !a.may {
		all = append(all, cmd("GRANT %s TO CURRENT_USER", quote(a.role)))
	}
	if a.schema != "" {
		all = append(all, cmd("GRANT USAGE ON SCHEMA %s TO %s", quote(a.schema), quote(a.role)))
	}
	if a.role != "" {
		all = append(all, cmd("SET LOCAL ROLE %s", quote(a.role)))
	}
	if !a.writes {
		all = append(all, cmd("SET TRANSACTION READ ONLY"))
	}
	return all
}

// giveBack are the commands after which the session is what it was.
func (a *execRights) giveBack() []command {
	var all []command
	if a.role != "" {
		all = append(all, cmd("RESET ROLE"))
	}
	if a.schema != "" {
		all = append(all, cmd("REVOKE USAGE ON SCHEMA %s FROM %s", quote(a.schema), quote(a.role)))
	}
	if a.role != "" && !a.may {
		all = append(all, cmd("REVOKE %s FROM CURRENT_USER", quote(a.role)))
	}
	return all
}

// What the server says to a statement without the rights, and in a transaction that only reads.
const (
	notPermitted = "42501"
	onlyReading  = "25006"
)

// refused adds the way on to what the server refuses for want of rights.
func (a *execRights) refused(err error) error {
	var e *tenant.Error
	if !errors.As(err, &e) {
		return err
	}
	switch {
	case e.Code == onlyReading && !a.writes: // it is not the server that only reads
		e.Kind, e.Hint = nil, "exec only reads: add --write where a change is meant"
	case e.Code == notPermitted && a.role != "":
		e.Hint = fmt.Sprintf("it ran as %s; --as-provisioner runs it with more rights", a.role)
	}
	return err
}

// mayAct refuses the rights of a role that is not the tenant's own.
func (a *execRights) mayAct(t tenant.Tenant, p *place) error {
	if a.role != "" && p.role != tenant.Ours {
		return noRole(t, p)
	}
	return nil
}
