package nosql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
)

// Align compares collections and indexes by name. The statements are commands as migrations have them.
func (r *Resource) Align(ctx context.Context, t, like tenant.Tenant) (statements []string, reason string, err error) {
	have, _, err := r.definitions(ctx, t)
	if err != nil {
		return nil, "", err
	}
	want, _, err := r.definitions(ctx, like)
	if err != nil {
		return nil, "", err
	}
	commands, reason := align(have, want)
	for _, c := range commands {
		text, err := bson.MarshalExtJSON(c, true, false)
		if err != nil {
			return nil, "", fmt.Errorf("write a command as JSON: %w", err)
		}
		statements = append(statements, string(text))
	}
	return statements, reason, nil
}

// Realign looks at the structure before and after. Each command can be run again, so that what a crash has left half done
// is a structure of its own for the next verification.
func (r *Resource) Realign(ctx context.Context, t tenant.Tenant, statements []string, have, want string) error {
	if err := catalog(tenant.LeaseFrom(ctx).Check(ctx)); err != nil {
		return err
	}
	before, _, err := r.definitions(ctx, t)
	switch {
	case err != nil:
		return err
	case structure(before) == want:
		return nil
	case structure(before) != have:
		return refused(tenant.ErrBusy, "run the same command again", "the structure is not any more what it was when it was looked at")
	}
	for _, s := range statements {
		c, _, problem := parseCommand(json.RawMessage(s))
		if problem != "" {
			return refused(tenant.ErrInvalid, "", "read %s: %s", s, problem)
		}
		if err := r.execute(ctx, t, c, nil); err != nil { // none of them renames, which alone needs a book
			return errors.Join(failure("run "+c.String(), err), r.putBackIndexes(ctx, t, before))
		}
		if err := tenant.Checkpoint(ctx, "mongodb/realigned"); err != nil {
			return err
		}
	}
	after, _, err := r.definitions(ctx, t)
	if err == nil && structure(after) != want {
		err = refused(tenant.ErrDiffers, "tenantctl verify --diff "+string(t.Name)+" shows what is left", "the commands do not end the difference")
	}
	return err
}

// putBackIndexes makes those of before again that are gone: one that takes the place of another may not fit the documents.
func (r *Resource) putBackIndexes(ctx context.Context, t tenant.Tenant, before []definition) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), defaultTimeout)
	defer cancel()
	now, _, err := r.definitions(ctx, t)
	if err != nil {
		return err
	}
	for _, d := range before {
		i := slices.IndexFunc(now, named(d.Name))
		if i < 0 {
			continue
		}
		lost := definition{Name: d.Name, Type: d.Type}
		for _, x := range d.Indexes {
			replaced := func(o bson.D) bool {
				return equal(lookup(o, "name"), lookup(x, "name")) || equal(lookup(o, "key"), lookup(x, "key"))
			}
			if !slices.ContainsFunc(now[i].Indexes, replaced) {
				lost.Indexes = append(lost.Indexes, x)
			}
		}
		if err := r.buildIndexes(ctx, t, lost); err != nil {
			return err
		}
	}
	return nil
}

// align gives the commands that lead from one set of definitions to another, or the reason why none do.
func align(have, want []definition) (commands []bson.D, reason string) {
	for _, d := range have {
		if !isBook(d.Name) && !slices.ContainsFunc(want, named(d.Name)) {
			return nil, fmt.Sprintf("%s %s is not in the usual structure, and what it holds is not for this to drop", d.Type, d.Name)
		}
	}
	for _, w := range want {
		if isBook(w.Name) {
			continue
		}
		old := definition{Name: w.Name}
		if i := slices.IndexFunc(have, named(w.Name)); i < 0 {
			create := bson.D{{Key: "create", Value: w.Name}}
			commands = append(commands, append(create, slices.DeleteFunc(slices.Clone(w.Options), func(e bson.E) bool { return e.Key == "create" || e.Key == "autoIndexId" })...))
		} else {
			old = have[i]
			changed, reason := modify(old, w)
			if reason != "" {
				return nil, reason
			}
			commands = append(commands, changed...)
		}
		changed, reason := reindex(w.Name, old, w)
		if reason != "" {
			return nil, reason
		}
		commands = append(commands, changed...)
	}
	return commands, ""
}

// reindex drops the indexes that are too many, which may be in the way of others by name or key, and makes those that are missing.
func reindex(collection string, have, want definition) (commands []bson.D, reason string) {
	dropped, made := bson.A{}, bson.A{}
	for _, x := range have.Indexes {
		if !madeByCreate(x) && !slices.ContainsFunc(want.Indexes, func(o bson.D) bool { return sameIndex(o, x) }) {
			dropped = append(dropped, lookup(x, "name"))
		}
	}
	for _, x := range want.Indexes {
		if madeByCreate(x) || slices.ContainsFunc(have.Indexes, func(o bson.D) bool { return sameIndex(o, x) }) {
			continue
		}
		if lookup(x, "expireAfterSeconds") != nil && have.Type != "" {
			return nil, fmt.Sprintf("index %s of %s makes the server delete documents by their age", lookup(x, "name"), collection)
		}
		made = append(made, wanted(x))
	}
	if len(dropped) > 0 {
		commands = append(commands, bson.D{{Key: "dropIndexes", Value: collection}, {Key: "index", Value: dropped}})
	}
	if len(made) > 0 {
		commands = append(commands, bson.D{{Key: "createIndexes", Value: collection}, {Key: "indexes", Value: made}})
	}
	return commands, ""
}

func named(name string) func(definition) bool {
	return func(d definition) bool { return d.Name == name }
}

// modify changes the options that collMod can change.
func modify(have, want definition) (commands []bson.D, reason string) {
	if have.Type != want.Type {
		return nil, fmt.Sprintf("%s is a %s, and a %s in the usual structure", want.Name, have.Type, want.Type)
	}
	change := bson.D{{Key: "collMod", Value: want.Name}}
	unset := bson.D{{Key: "validator", Value: bson.D{}}, {Key: "validationLevel", Value: "strict"}, {Key: "validationAction", Value: "error"}}
	old, now := plainFields(have.Options, "autoIndexId"), plainFields(want.Options, "autoIndexId")
	for _, e := range append(slices.Clone(now), old...) {
		was, is := lookup(old, e.Key), lookup(now, e.Key)
		if lookup(change, e.Key) != nil || equal(was, is) {
			continue
		}
		if is == nil {
			is = lookup(unset, e.Key)
		}
		if lookup(unset, e.Key) == nil && e.Key != "viewOn" && e.Key != "pipeline" || is == nil {
			return nil, fmt.Sprintf("option %s of %s %s is another in the usual structure, and cannot be changed once it is made", e.Key, want.Type, want.Name)
		}
		change = append(change, bson.E{Key: e.Key, Value: is})
	}
	if len(change) == 1 {
		return nil, ""
	}
	if want.Type == typeView { // collMod takes both or none
		change = bson.D{change[0], {Key: "viewOn", Value: lookup(now, "viewOn")}, {Key: "pipeline", Value: lookup(now, "pipeline")}}
	}
	return []bson.D{change}, ""
}
