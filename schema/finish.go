package schema

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/tenantctl/tenantctl/schema/sqltext"
	"github.com/tenantctl/tenantctl/tenant"
)

// How many statements one transaction runs. Each takes some of the server's locks until it ends.
const (
	statementsAtOnce = 100
	analyzedAtOnce   = 50
)

// Finish makes what had to wait for the rows, gives the rights, and compares what is there with what is told of it.
func (l *loader) Finish(ctx context.Context) error {
	_ = l.jobs.Wait() // the first failure is known
	if err := l.failed(); err != nil {
		return err
	}
	for _, path := range []string{partSequences, partPost, partGrants} {
		if _, there := l.texts[path]; !there || !l.made {
			return l.fail(invalid("the backup is damaged: verify it", "part %s is missing", path))
		}
	}
	steps := []struct {
		do   func() error
		done string
	}{
		{l.counted, "postgres/restored-rows"},
		{func() error { return l.statements(l.w.Resource, partSequences, statementsOf(l.texts[partSequences])) }, "postgres/restored-sequences"},
		{l.complete, "postgres/restored-schema"},
		{l.analyze, "postgres/restored-statistics"},
		{l.handOver, "postgres/restored-owners"},
		{l.grant, "postgres/restored-grants"},
		{l.giveObjects, "postgres/restored-large-objects"},
		{func() error { return l.end(l.ctx) }, "postgres/worker-gone"},
		{l.compare, "postgres/restored"},
	}
	for _, s := range steps {
		if err := s.do(); err != nil {
			return l.fail(err)
		}
		if err := tenant.Checkpoint(ctx, s.done); err != nil {
			return l.fail(err)
		}
	}
	return nil
}

// statements runs SQL of a part of the backup in the schema, some in each transaction, as the worker or, where no code of
// the tenant's runs, as the provisioning role. Nothing else of a backup is run.
func (l *loader) statements(by *Resource, path string, all []sqlStatement) error {
	sql, err := l.admit(path, all)
	if err != nil || len(sql.commands) == 0 {
		return err
	}
	conn, err := by.acquire(l.ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	if err := sql.trusted(l.ctx, path, conn); err != nil {
		return err
	}
	var access []command
	for some := range slices.Chunk(sql.commands, statementsAtOnce) {
		commands := append([]command{cmd("SET LOCAL check_function_bodies = off"), cmd("SET LOCAL standard_conforming_strings = on")}, access...)
		for _, c := range some {
			if commands = append(commands, c); strings.HasPrefix(c.sql, accessMethod) {
				access = []command{c}
			}
		}
		if err := by.within(l.ctx, conn, l.t, commands); err != nil {
			return definitionFailure(l.r, conn, err)
		}
	}
	return nil
}

// admit reads SQL of a part as it is to be run here.
func (l *loader) admit(path string, all []sqlStatement) (admitted, error) {
	here := make([]sqlStatement, len(all))
	for i, s := range all {
		here[i] = sqlStatement{l.policyFor(s), s.tokens}
	}
	return admit(path, here, l.names(), l.t.Schema)
}

// policyFor is a statement in which a policy of the maker's is not whose session runs it.
func (l *loader) policyFor(s sqlStatement) string {
	if !sqltext.Begins(s.tokens, "create", "policy") {
		return s.text
	}
	var b strings.Builder
	end := s.tokens[0].Start
	from := end
	for _, i := range sqltext.RolePositions(s.tokens) {
		if t := s.tokens[i]; t.Is(strings.ToLower(sqltext.CurrentUser)) {
			b.WriteString(s.text[end-from : t.Start-from])
			b.WriteString(l.maker())
			end = t.Start + len(t.Text)
		}
	}
	return b.String() + s.text[end-from:]
}

// within runs commands in a transaction in a schema that is the tenant's, with the settings in which schemas are read.
func (r *Resource) within(ctx context.Context, conn *pgxpool.Conn, t tenant.Tenant, commands []command) error {
	return r.transact(ctx, conn, t, nil, func(p *place) ([]command, error) {
		if err := p.ours(t); err != nil {
			return nil, err
		}
		return append(r.readSettings(t, major(conn.Conn().PgConn())), commands...), nil
	})
}

// SQLSTATEs of definitions that do not fit a server.
const (
	syntaxError       = "42601"
	undefinedFunction = "42883"
	undefinedSchema   = "3F000"
	unsupported       = "0A000"
	undefinedFile     = "58P01"
	unknownSetting    = "22023"
)

// definitionFailure names the statement of a backup that the server refused, and the way out.
func definitionFailure(r *Resource, conn *pgxpool.Conn, err error) error {
	err = failure("restore the definitions", err)
	var e *tenant.Error
	var at *refusedCommand
	if !errors.As(err, &e) || e.Code == "" || !errors.As(err, &at) {
		return err
	}
	helped := *e
	helped.Statement = sqltext.Show(at.sql)
	where := address(conn.Conn().Config())
	switch {
	case e.Hint != "":
	case e.Code == undefinedObject && strings.Contains(e.Msg, "role \""):
		helped.Hint = "make the role with CREATE ROLE first: a policy needs it"
	case slices.Contains([]string{undefinedObject, undefinedFunction, undefinedSchema, undefinedTable, undefinedFile}, e.Code):
		helped.Hint = fmt.Sprintf("make in %s what the tenant used outside its schema: CREATE EXTENSION, or the function or table itself", where)
	case slices.Contains([]string{syntaxError, unsupported, unknownSetting}, e.Code):
		helped.Hint = fmt.Sprintf("the backup may be of a newer server than %s", serverName(conn.Conn().PgConn()))
	}
	return &helped
}

// complete makes indexes, constraints, triggers and policies.
func (l *loader) complete() error {
	if err := l.w.needs(l.ctx, l.texts[partPost]); err != nil {
		return err
	}
	all := l.withoutForeignKeys(statementsOf(l.texts[partPost]))
	if l.o.Role == "" {
		for _, s := range all {
			if sqltext.SpeaksOfRole(s.text) {
				l.left = true
				l.o.Log("tenants have no roles here: what was the tenant's role's is the provisioning role's: " + sqltext.Show(s.text))
			}
		}
	}
	return l.statements(l.w.Resource, partPost, all)
}

// withoutForeignKeys leaves out what cannot hold where the rows of some tables are missing.
func (l *loader) withoutForeignKeys(all []sqlStatement) []sqlStatement {
	if l.wanted == nil {
		return all
	}
	gone := map[string]bool{}
	return slices.DeleteFunc(all, func(s sqlStatement) bool {
		if name := foreignKey(s.tokens); name != "" {
			gone[name] = true
			return true
		}
		return sqltext.Begins(s.tokens, "comment", "on", "constraint") && gone[s.tokens[3].Name()]
	})
}

// foreignKey is the name of the one that ALTER TABLE ... ADD CONSTRAINT name FOREIGN KEY makes, or "".
func foreignKey(s []sqltext.Token) string {
	if !sqltext.Begins(s, "alter", "table") {
		return ""
	}
	for i := 2; i+4 < len(s); i++ {
		if s[i].Is("add") && s[i+1].Is("constraint") && s[i+3].Is("foreign") && s[i+4].Is("key") {
			return s[i+2].Name()
		}
	}
	return ""
}

// handOver gives what was made to the provisioning role, where no other owns the schema.
func (l *loader) handOver() error {
	definers, to, err := l.w.handOver(l.ctx, l.o.Role)
	if err == nil && len(definers) > 0 {
		l.o.Log(definersGiven(definers, to))
	}
	return err
}

// grant gives the rights of the backup: to the tenant's role by the name that it has now, and to others that are here.
// Where the backup knows no role of the tenant's, it gets what a new tenant's has.
func (l *loader) grant() error {
	all := statementsOf(l.texts[partGrants])
	roles := map[string]bool{}
	for _, s := range all {
		for _, i := range sqltext.RolePositions(s.tokens) {
			roles[s.tokens[i].Name()] = true
		}
	}
	left, err := l.withoutRights(l.r, roles)
	if err != nil {
		return err
	}
	for _, name := range slices.Sorted(maps.Keys(left)) {
		l.o.Log(fmt.Sprintf("role %s had rights in the schema and %s: they are left out", name, left[name]))
	}
	own := false
	all = slices.DeleteFunc(all, func(s sqlStatement) bool {
		ours := sqltext.SpeaksOfRole(s.text)
		own = own || ours
		return ours && l.o.Role == "" || slices.ContainsFunc(sqltext.RolePositions(s.tokens), func(i int) bool { return left[s.tokens[i].Name()] != "" }) || l.ofOthers(s)
	})
	by := l.r
	if l.o.Owner != "" { // who alone may say what is granted on what the owner makes later
		by = l.w.Resource
	}
	if err := l.statements(by, partGrants, all); err != nil {
		return err
	}
	if l.o.Role == "" {
		return nil
	}
	conn, err := by.acquire(l.ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	standard := []command{cmd("GRANT USAGE ON SCHEMA %s TO %s", quote(l.t.Schema), quote(l.o.Role))}
	if !own {
		standard = grants(l.role(), true, false)
	}
	standard = append(standard, cmd(grantConstructors, text(quote(l.t.Schema))))
	if l.o.Owner == "" { // what another tool makes keeps what it has
		standard = append(standard, cmd(unpublishConstructors, text(quote(l.t.Schema))))
	}
	return refusal("grant rights to role "+l.o.Role, conn, l.role(), by.within(l.ctx, conn, l.t, standard))
}

// ofOthers tells of default privileges for what a role makes that is neither the tenant's nor the one that restores: a
// backup has no say in them.
func (l *loader) ofOthers(s sqlStatement) bool {
	i := slices.IndexFunc(s.tokens, func(t sqltext.Token) bool { return t.Is("role") })
	if !sqltext.Begins(s.tokens, "alter", "default", "privileges", "for") || i < 0 || i+1 >= len(s.tokens) {
		return false
	}
	of := s.tokens[i+1]
	if of.Is(sqltext.CurrentUser) || of.Kind == sqltext.Symbol { // psql's variable, which is the tenant's role
		return false
	}
	l.o.Log(fmt.Sprintf("what role %s makes has rights of its own in the schema: they are left out", of.Name()))
	return true
}

// withoutRights are the roles that get nothing from a backup, with the reason: those that the server does not know, that
// need no rights, and that are another tenant's, whatever a backup says.
func (l *loader) withoutRights(by *Resource, roles map[string]bool) (map[string]string, error) {
	delete(roles, strings.ToLower(sqltext.CurrentUser))
	left := map[string]string{}
	for name := range roles {
		left[name] = "does not exist here"
	}
	if len(left) == 0 {
		return nil, nil
	}
	conn, err := by.acquire(l.ctx)
	if err != nil {
		return nil, err
	}
	defer conn.Release()
	c := cmd("SELECT rolname, rolsuper, coalesce(shobj_description(oid, 'pg_authid'), '') FROM pg_roles")
	c.row = func(row [][]byte) {
		switch name, comment := string(row[0]), row[2]; {
		case !roles[name]:
		case is(row[1]):
			left[name] = "needs none as a superuser"
		case strings.HasPrefix(string(comment), anyMark) && !marks(comment, l.t) && name != l.o.Role:
			left[name] = "is another tenant's here"
		default:
			delete(left, name)
		}
	}
	return left, failure("look for roles", send(l.ctx, conn.Conn().PgConn(), []command{c}))
}

// analyze gives the planner figures of what was loaded. Partitions are looked at with the table that they are of.
func (l *loader) analyze() error {
	conn, err := l.w.acquire(l.ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	var names []string
	c := cmd(analyzeSQL, text(quote(l.t.Schema)))
	c.row = func(row [][]byte) {
		if l.wanted == nil || l.wanted[string(row[0])] {
			names = append(names, string(row[0]))
		}
	}
	if err := send(l.ctx, conn.Conn().PgConn(), []command{c}); err != nil {
		return failure("list the tables of schema "+l.t.Schema, err)
	}
	for some := range slices.Chunk(names, analyzedAtOnce) {
		var list []string
		for _, n := range some {
			list = append(list, quote(n))
		}
		if err := l.w.within(l.ctx, conn, l.t, []command{cmd("ANALYZE %s", strings.Join(list, ", "))}); err != nil {
			return failure("analyze the tables of schema "+l.t.Schema, err)
		}
	}
	return nil
}

const analyzeSQL = `SELECT c.relname FROM pg_depend d JOIN pg_class c ON c.oid = d.objid
WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = to_regnamespace(%s) AND d.classid = 'pg_class'::regclass
	AND (c.relkind = 'r' AND NOT c.relispartition OR c.relkind = 'p' AND NOT c.relispartition OR c.relkind = 'm' AND c.relispopulated)
ORDER BY c.relname`

// compare proves that the structure is what the backup tells it is.
func (l *loader) compare() error {
	conn, err := l.r.acquire(l.ctx)
	if err != nil {
		return err
	}
	defer conn.Release()
	was, now := releaseOf(l.o.Dumped.Server), major(conn.Conn().PgConn())
	switch {
	case l.wanted != nil || l.left || l.o.Dumped.Fingerprint == "":
		return nil
	case was.major != now:
		l.o.Log(fmt.Sprintf("the backup is of %s and this is %s: their structures cannot be compared", l.o.Dumped.Server, serverName(conn.Conn().PgConn())))
		return nil
	}
	s, _, err := l.r.inspect(l.ctx, conn, l.role())
	switch {
	case err != nil:
		return err
	case !canCompare(l.o.Dumped.Fingerprint, was, s):
		l.o.Log("the backup's fingerprint was made by another version of tenantctl: the structures cannot be compared")
	case digest(s.fingerprint) != digest(l.o.Dumped.Fingerprint):
		return &tenant.Error{
			Kind: tenant.ErrDiffers, Store: tenant.KindPostgres, Msg: fmt.Sprintf("the structure of schema %s is not the one that was backed up", l.t.Schema),
			Hint: "compare the definitions: pg_dump --schema-only --schema=" + l.t.Schema + ", and the backup's pre-data.sql and post-data.sql",
		}
	}
	return nil
}

// releaseOf is the version in "PostgreSQL 15.4".
func releaseOf(server string) release {
	_, version, _ := strings.Cut(server, " ")
	return readVersion(version)
}
