package nosql

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
)

// allowed are the commands that stay inside one database. Any other is refused, because what tenantctl does not know
// may reach beyond the tenant.
var allowed = []string{
	"create", "drop", "collMod", "convertToCapped", "renameCollection",
	"createIndexes", "dropIndexes", "createSearchIndexes", "updateSearchIndex", "dropSearchIndex",
	"insert", "update", "delete", "findAndModify", "aggregate",
}

// refusal is why a command is never run by a migration, or by exec; empty for one that is.
func refusal(c command, known []string, by string) (rule, problem string) {
	switch {
	case strings.HasSuffix(c.name, "User"), strings.HasSuffix(c.name, "Role"), strings.HasPrefix(c.name, "grant"), strings.HasPrefix(c.name, "revoke"):
		return "command", fmt.Sprintf("%s is refused: tenantctl alone makes users", c.name)
	case c.name == "dropDatabase":
		return "command", "dropDatabase is refused: it would take the version book along; drop the collections one by one"
	case !slices.Contains(known, c.name):
		return "command", fmt.Sprintf("%q is refused: it may reach beyond the tenant's database; %s runs %s", c.name, by, strings.Join(known, ", "))
	}
	if problem := badCollection(c.collection); problem != "" {
		return "collection", c.name + ": " + problem
	}
	if lookup(c.body, "$db") != nil {
		return "database", fmt.Sprintf("%s names a database ($db): it runs in the tenant's", c)
	}
	if concern, ok := c.field("writeConcern").(bson.D); ok {
		if w, ok := number(lookup(concern, "w")); ok && w == 0 {
			return "command", fmt.Sprintf("%s asks for no acknowledgement (w: 0), which would hide its errors", c)
		}
	}
	switch c.name {
	case "renameCollection":
		to, _ := c.field("to").(string)
		if strings.Contains(c.collection, ".") || strings.Contains(to, ".") {
			return "database", fmt.Sprintf("%s: give both collections by name alone, without a database", c)
		}
		if problem := badCollection(to); problem != "" {
			return "collection", c.name + ": to: " + problem
		}
	case "aggregate":
		stages := c.documents("pipeline")
		if len(stages) == 0 || lookup(stages[len(stages)-1], "$out") == nil && lookup(stages[len(stages)-1], "$merge") == nil {
			return "command", fmt.Sprintf("%s changes nothing: end it with $out or $merge", c)
		}
		return reach(c.field("pipeline"))
	case "create", "collMod":
		return reach(c.field("pipeline"))
	}
	return "", ""
}

func badCollection(name string) string {
	switch {
	case name == "":
		return "the collection is missing"
	case isBook(name):
		return fmt.Sprintf("the collection %s is tenantctl's own", name)
	case strings.HasPrefix(name, "system."):
		return fmt.Sprintf("the collection %s is the server's own", name)
	}
	return ""
}

// targets are the stages that name another collection, and the field they name it in; $out names it itself.
var targets = map[string]string{"$merge": "into", "$lookup": "from", "$graphLookup": "from", "$unionWith": "coll"}

// reach finds where a pipeline leaves the tenant's database or writes into a book.
func reach(v any) (rule, problem string) {
	switch v := v.(type) {
	case bson.A:
		for _, e := range v {
			if rule, problem := reach(e); problem != "" {
				return rule, problem
			}
		}
	case bson.D:
		for _, e := range v {
			target := e.Value
			if key, nested := targets[e.Key]; nested {
				if d, ok := target.(bson.D); ok {
					target = lookup(d, key)
				}
			}
			place, isDocument := target.(bson.D)
			_, names := targets[e.Key]
			if names = names || e.Key == "$out"; names && isDocument && lookup(place, "db") != nil {
				return "database", fmt.Sprintf("%s names a database: it runs in the tenant's", e.Key)
			}
			if e.Key == "$out" || e.Key == "$merge" {
				name, _ := target.(string)
				if isDocument {
					name, _ = lookup(place, "coll").(string)
				}
				if problem := badCollection(name); problem != "" {
					return "collection", e.Key + ": " + problem
				}
			}
			if rule, problem := reach(e.Value); problem != "" {
				return rule, problem
			}
		}
	}
	return "", ""
}

// Check reads every file and lists what is broken, then what is risky.
func (r *Resource) Check(ctx context.Context) ([]tenant.Finding, error) {
	files, flaws, err := r.readFolder()
	if err != nil {
		return nil, err
	}
	findings := []tenant.Finding{}
	add := func(severity, path string, line int, rule, message string) {
		findings = append(findings, tenant.Finding{Store: tenant.KindMongoDB, File: path, Line: line, Rule: rule, Severity: severity, Message: message})
	}
	for _, f := range flaws {
		add("error", f.path, f.line, f.rule, f.problem)
	}
	server := r.target(ctx)
	var before int64
	for _, f := range files {
		// Numbers that are moments have gaps by nature.
		if f.version != before+1 && f.version < firstMoment {
			add("warning", f.up.path, 0, "gap", fmt.Sprintf("version %d follows version %d: is a file missing?", f.version, before))
		}
		before = f.version
		if f.down == nil {
			add("warning", f.up.path, 0, "missing-down", fmt.Sprintf("version %d has no down file: it cannot be undone", f.version))
		} else if len(f.down.commands) == 0 && len(f.up.commands) > 0 && len(flaws) == 0 {
			add("warning", f.down.path, 0, "empty", "holds no command: nothing would be undone")
		}
		if len(f.up.commands) == 0 && len(flaws) == 0 {
			add("error", f.up.path, 0, "empty", "holds no command")
			findings[len(findings)-1].Version = f.version
		}
		for _, s := range []*side{f.up, f.down} {
			if s == nil {
				continue
			}
			for _, c := range s.commands {
				rules, problems := badIndexes(c)
				for i := range rules {
					add("error", s.path, c.line, rules[i], problems[i])
				}
				for _, refusal := range server.refusals(c) {
					add(refusal.severity, s.path, c.line, "server-version", c.String()+": "+refusal.message)
				}
				if why := unrepeatable(c); why != "" {
					add("warning", s.path, c.line, "repeat", fmt.Sprintf("%s %s: a crash in the middle may run it twice", c, why))
				}
				if c.relaxed {
					add("warning", s.path, c.line, "canonical", fmt.Sprintf("%s is in relaxed Extended JSON, which golang-migrate does not read (write dates as {\"$date\": {\"$numberLong\": \"…\"}})", c))
				}
			}
		}
	}
	return findings, nil
}

// firstMoment is the smallest version that is a time, as in 20260131120000.
const firstMoment = 1970_01_01_00_00_00

// unrepeatable is why a command that ran twice leaves something else than one that ran once; empty where it does not.
func unrepeatable(c command) string {
	switch c.name {
	case "insert":
		for _, d := range c.documents("documents") {
			if lookup(d, "_id") == nil {
				return "has a document without _id"
			}
		}
	case "update":
		for _, u := range c.documents("updates") {
			if why := accumulates(lookup(u, "u")); why != "" {
				return why
			}
		}
	case "findAndModify":
		return accumulates(c.field("update"))
	}
	return ""
}

// accumulates finds what in an update depends on the value before it.
func accumulates(update any) string {
	switch u := update.(type) {
	case bson.D:
		for _, e := range u {
			switch e.Key {
			case "$inc", "$mul", "$push", "$pop", "$bit":
				return "uses " + e.Key
			}
		}
	case bson.A: // a pipeline
		for _, stage := range u {
			d, _ := stage.(bson.D)
			for _, e := range d {
				fields, _ := e.Value.(bson.D)
				for _, f := range fields {
					if (e.Key == "$set" || e.Key == "$addFields") && mentions(f.Value, "$"+f.Key) {
						return "sets " + f.Key + " from itself"
					}
				}
			}
		}
	}
	return ""
}

// mentions tells whether an expression reads the field of that path.
func mentions(v any, path string) bool {
	switch v := v.(type) {
	case string:
		return v == path
	case bson.A:
		return slices.ContainsFunc(v, func(e any) bool { return mentions(e, path) })
	case bson.D:
		return slices.ContainsFunc(v, func(e bson.E) bool { return mentions(e.Value, path) })
	}
	return false
}
