package nosql

import (
	"context"
	"fmt"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
)

var (
	_ tenant.Planner = (*Resource)(nil)
	_ tenant.Ruled   = (*Resource)(nil)
)

// rules are all that Check looks for, by their ids. None can be ignored: JSON has no comments.
var rules = []tenant.Rule{
	{ID: "canonical", Severity: "warning", Reason: "golang-migrate does not read relaxed Extended JSON", Alternative: "canonical: {\"$date\": {\"$numberLong\": \"…\"}}"},
	{ID: "collection", Severity: "error", Reason: "a collection is missing, or is tenantctl's or the server's own", Alternative: "a collection of the tenant's"},
	{ID: "command", Severity: "error", Reason: "a command may reach beyond the tenant's database, or changes nothing", Alternative: "the commands that docs/migrations.md lists"},
	{ID: "database", Severity: "error", Reason: "a command names a database", Alternative: "the collection's name alone: it runs in the tenant's"},
	{ID: "duplicate", Severity: "error", Reason: "two files have one version", Alternative: "give one of them another number"},
	{ID: "empty", Severity: "error", Reason: "a file holds no command; of a down file, this is a warning", Alternative: "commands, or no file"},
	{ID: "gap", Severity: "warning", Reason: "a file that is added in the gap later runs out of order", Alternative: "numbers without gaps, or times"},
	{ID: "json", Severity: "error", Reason: "a file is no array of commands in Extended JSON", Alternative: "the message has the place and what is wrong there"},
	{ID: "missing-down", Severity: "warning", Reason: "without a down file it cannot be undone", Alternative: "NUMBER_name.down.json"},
	{ID: "missing-up", Severity: "error", Reason: "there is nothing to apply", Alternative: "NUMBER_name.up.json"},
	{ID: "name", Severity: "error", Reason: "a file is not named as a migration", Alternative: "NUMBER_name.up.json"},
	{ID: "repeat", Severity: "warning", Reason: "a crash in the middle may run a command twice, which leaves something else than once", Alternative: "an _id for each document; $set in place of $inc, $push and the like"},
	{ID: "size", Severity: "error", Reason: "a file is larger than 16 MiB", Alternative: "load data another way, such as mongoimport"},
	{ID: "unreadable", Severity: "error", Reason: "a file cannot be read", Alternative: "the right to read it"},
}

// Rules are all that Check looks for.
func (r *Resource) Rules() []tenant.Rule {
	out := make([]tenant.Rule, len(rules))
	for i, rule := range rules {
		rule.Store = tenant.KindMongoDB
		out[i] = rule
	}
	return out
}

// Explain tells which commands each file runs. MongoDB takes no locks that would be worth a plan.
func (r *Resource) Explain(context.Context) ([]tenant.PlannedFile, error) {
	files, err := r.load()
	if err != nil {
		return nil, err
	}
	var out []tenant.PlannedFile
	for _, f := range files {
		p := tenant.PlannedFile{Store: tenant.KindMongoDB, Version: f.version, Name: f.name, Path: f.up.path, Statements: []tenant.PlannedStatement{}}
		for _, c := range f.up.commands {
			text, err := bson.MarshalExtJSON(c.body, false, false)
			if err != nil {
				return nil, fmt.Errorf("write %s as text: %w", c, err)
			}
			p.Statements = append(p.Statements, tenant.PlannedStatement{
				Line: c.line, Statement: string(text), Locks: []tenant.PlannedLock{}, Rewrites: []string{}, Scans: []string{},
			})
		}
		out = append(out, p)
	}
	return out, nil
}
