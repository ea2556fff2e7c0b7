package cmd_test

// faultCase is a command to be stopped at every point.
type faultCase struct {
	name string
	from string   // what there is before: "" for nothing, a tenant that is whole, old, suspended, deleted, harmed, unlike or without a role, or loose
	args []string // NAME stands for the tenant, PLACE for its schema and database
	// again is how the command ends where its work is done: what is there already or gone already is no success of
	// create, delete and rename.
	again int
	// undo is a fault at which the command goes back; the way back is then tried too.
	undo string
	// fleet tells that it is a run: it is resumed by its own command, and one failed tenant is a part of it.
	fleet bool
	// goOn is the command that resumes a run, where it is not migrate.
	goOn []string
	// between tells that there are good states between the first and the last, such as a version.
	between bool
	// scratch tells that it works in a place of its own beside the tenant, which is as it was at the end. Each run
	// clears away what dead ones have left, so that no two are at work at once. What it has the stores do, clone and
	// migrate do too: their points are tried there.
	scratch bool
	// alone tells that it looks at other tenants too, which others at work on them would disturb.
	alone bool
	// modelled tells that package tenant lets it crash at every statement and every call of a store, with stores in memory:
	// here it is enough to try a third of the points between the stores' own.
	modelled bool
	source   bool // there is a tenant "source" with a backup
	engine   bool // another tool migrates PostgreSQL
	minimum  int  // points; fewer mean that checkpoints got lost
}

const (
	whole     = "whole"
	old       = "old" // at the first version in both stores
	suspended = "suspended"
	deleted   = "deleted"
	loose     = "loose"  // a schema and a database that another tool has made
	harmed    = "harmed" // with rights and a record that are wrong
	unlike    = "unlike" // with a structure that is not that of the others
	roleless  = "adopted without a role"
)

var faultCases = []faultCase{
	{name: "create", args: []string{"create", "NAME", "--domain", "NAME.example.com", "--label", "plan=pro"}, again: 5, undo: "fail@create/mongodb/after", modelled: true, minimum: 25},
	{name: "adopt", from: loose, args: []string{"adopt", "NAME", "--schema", "PLACE", "--database", "PLACE", "--domain", "NAME.example.com", "--roles", "--version", "0"}, fleet: true, goOn: []string{"adopt"}, undo: "fail@adopt/mongodb/after", between: true, minimum: 12},
	{name: "adopt-role", from: roleless, args: []string{"adopt", "NAME", "--schema", "PLACE", "--roles"}, fleet: true, goOn: []string{"adopt"}, undo: "fail@adopt-role/mongodb/after", between: true, minimum: 12},
	{name: "delete", from: whole, args: []string{"delete", "NAME", "--yes"}, undo: "fail@delete/lock/after", modelled: true, minimum: 6},
	{name: "undelete", from: deleted, args: []string{"undelete", "NAME"}, modelled: true, minimum: 6},
	{name: "purge", from: deleted, args: []string{"purge", "NAME", "--yes"}, again: 4, modelled: true, minimum: 14},
	{name: "restore-as", args: []string{"restore", "source@latest", "--as", "NAME"}, source: true, again: 5, undo: "fail@restore/migrate/after", minimum: 15},
	{name: "clone", args: []string{"clone", "source", "NAME"}, source: true, again: 5, undo: "fail@clone/mongodb/after", modelled: true, minimum: 12},
	{name: "suspend", from: whole, args: []string{"suspend", "NAME"}, undo: "fail@suspend/mongodb/after", modelled: true, minimum: 8},
	{name: "resume", from: suspended, args: []string{"resume", "NAME"}, undo: "fail@resume/mongodb/after", modelled: true, minimum: 8},
	{name: "rename", from: whole, args: []string{"rename", "NAME", "NAMEx"}, again: 4, modelled: true, minimum: 5},
	{name: "set", from: whole, args: []string{"set", "NAME", "--label", "plan=pro", "--domain", "NAME.example.org"}, modelled: true, minimum: 5},
	{name: "credentials", from: whole, args: []string{"credentials", "NAME", "--rotate", "-o", "json"}, modelled: true, minimum: 7},
	{name: "migrate", from: old, args: []string{"migrate", "NAME"}, fleet: true, between: true, modelled: true, minimum: 12},
	{name: "migrate-exec", from: old, args: []string{"migrate", "NAME"}, fleet: true, between: true, engine: true, minimum: 12},
	{name: "rehearse", from: old, args: []string{"migrate", "rehearse", "NAME", "--data"}, scratch: true, undo: "fail@rehearse/migrate/after", minimum: 10},
	{name: "verify-fix", from: harmed, args: []string{"verify", "NAME", "--fix", "--yes"}, alone: true, between: true, minimum: 8},
	{name: "verify-fix-drift", from: unlike, args: []string{"verify", "NAME", "--fix", "--yes", "--drift"}, alone: true, between: true, minimum: 8},
	{name: "baseline", from: old, args: baseline("postgres", "5", "NAME", "--yes"), fleet: true, goOn: baseline("postgres", "5"), between: true, minimum: 6},
	{name: "baseline-mongodb", from: old, args: baseline("mongodb", "3", "NAME", "--yes"), fleet: true, goOn: baseline("mongodb", "3"), between: true, minimum: 7},
	{name: "migrate-down", from: whole, args: down("postgres", "2"), between: true, modelled: true, minimum: 6},
	{name: "migrate-down-mongodb", from: whole, args: down("mongodb", "1"), between: true, minimum: 6},
	{name: "migrate-redo", from: whole, args: []string{"migrate", "redo", "NAME", "--only", "postgres", "--yes"}, between: true, minimum: 6},
	{name: "migrate-redo-mongodb", from: whole, args: []string{"migrate", "redo", "NAME", "--only", "mongodb", "--yes"}, between: true, minimum: 8},
}

func down(store, to string) []string {
	return []string{"migrate", "down", "NAME", "--only", store, "--to", to, "--yes"}
}

func baseline(store, version string, more ...string) []string {
	return append([]string{"migrate", "baseline", "--only", store, "--version", version}, more...)
}
