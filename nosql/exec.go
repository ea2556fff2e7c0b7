package nosql

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.mongodb.org/mongo-driver/v2/bson"

	"github.com/tenantctl/tenantctl/tenant"
)

var _ tenant.Execer = (*Resource)(nil)

// readOnly are the commands that exec runs beside those of migrations. They change nothing and stay inside one database.
var readOnly = []string{"find", "aggregate", "count", "distinct", "listCollections", "listIndexes", "collStats", "dbStats", "explain"}

// cursors are those of them whose reply is a cursor.
var cursors = []string{"find", "aggregate", "listCollections", "listIndexes"}

// Admit refuses what is no command in Extended JSON, what reaches beyond a tenant's database, and what does not end.
func (r *Resource) Admit(x tenant.Statement) error {
	c, err := admitted(x.Text)
	switch {
	case err != nil:
		return err
	case slices.Contains(structural, c.name) && !x.DDL:
		return refused(tenant.ErrInvalid, "write a migration instead: tenantctl migrate new NAME --mongodb, then tenantctl migrate; or add --ddl",
			"%s changes the structure of tenants behind their migrations", c.name)
	case !onlyReads(c) && !x.Write:
		return refused(tenant.ErrInvalid, "add --write where that is meant", "%s changes documents, and exec only reads", c.name)
	}
	return nil
}

// structural are the commands that change what migrations made.
var structural = []string{
	"create", "drop", "collMod", "convertToCapped", "renameCollection", "createIndexes", "dropIndexes", "createSearchIndexes", "updateSearchIndex", "dropSearchIndex",
}

func admitted(statement string) (command, error) {
	hint := `write it as {"count": "orders", "query": {"state": "open"}}`
	if len(statement) > maxFile {
		return command{}, refused(tenant.ErrInvalid, "MongoDB takes none that large", "the command is larger than 16 MiB")
	}
	raw := json.RawMessage(strings.TrimSpace(statement))
	if len(raw) == 0 || raw[0] != '{' || !json.Valid(raw) {
		return command{}, refused(tenant.ErrInvalid, hint, "exec takes one MongoDB command, a document in Extended JSON")
	}
	c, _, problem := decodeCommand(raw)
	if problem == "" {
		problem = notExecuted(c)
	}
	if problem != "" {
		return command{}, refused(tenant.ErrInvalid, hint, "exec does not run this command: %s", problem)
	}
	return c, nil
}

// notExecuted is why exec does not run a command; empty for one that it runs.
func notExecuted(c command) string {
	for _, e := range c.body[1:] {
		if strings.HasPrefix(e.Key, "$") || slices.Contains([]string{"lsid", "txnNumber", "autocommit", "startTransaction"}, e.Key) {
			return fmt.Sprintf("%s: the field %s is the connection's own", c.name, e.Key)
		}
	}
	if c.name == "explain" {
		nested, ok := c.body[0].Value.(bson.D)
		if !ok || len(nested) == 0 || nested[0].Key == "explain" {
			return "explain: the command to explain is missing"
		}
		collection, _ := nested[0].Value.(string)
		return notExecuted(command{name: nested[0].Key, collection: collection, body: nested})
	}
	if !onlyReads(c) {
		_, problem := refusal(c, slices.Concat(allowed, readOnly), "exec")
		return problem
	}
	if wholeDatabase := c.name == "listCollections" || c.name == "dbStats"; c.collection == "" && !wholeDatabase {
		return c.name + ": the collection is missing"
	}
	if c.field("tailable") != nil || c.field("awaitData") != nil {
		return c.name + ": a tailable cursor does not end"
	}
	if stages := c.documents("pipeline"); len(stages) > 0 && len(stages[0]) > 0 && stages[0][0].Key == "$changeStream" {
		return c.name + ": a change stream does not end"
	}
	_, problem := reach(c.field("pipeline"))
	return problem
}

// onlyReads tells a command that changes nothing. An aggregate with $out or $merge anywhere is none.
func onlyReads(c command) bool {
	return slices.Contains(readOnly, c.name) && !writesOut(c.field("pipeline"))
}

func writesOut(v any) bool {
	stages, _ := v.(bson.A)
	return slices.ContainsFunc(stages, func(s any) bool {
		stage, _ := s.(bson.D)
		return lookup(stage, "$out") != nil || lookup(stage, "$merge") != nil
	})
}

// WithoutValues is the command with the names of its fields alone.
func (r *Resource) WithoutValues(statement string) string {
	c, err := admitted(statement)
	if err != nil {
		return ""
	}
	fields := bson.D{{Key: c.name, Value: c.collection}}
	for _, e := range c.body[1:] {
		fields = append(fields, bson.E{Key: e.Key, Value: "?"})
	}
	return show(fields)
}

// Exec runs one command in the tenant's database, as the user of nosql.url, and streams its documents. A write waits for
// as many servers as all others do. Of a command that fails, MongoDB keeps what it did before.
func (r *Resource) Exec(ctx context.Context, t tenant.Tenant, x tenant.Statement, sink tenant.RowSink) (int64, error) {
	c, err := admitted(x.Text)
	if err == nil {
		err = r.Admit(x)
	}
	if err != nil {
		return 0, err
	}
	if err := r.CheckOwner(ctx, t); err != nil {
		return 0, err
	}
	var rows int64
	switch {
	case onlyReads(c) && slices.Contains(cursors, c.name):
		rows, err = r.streamDocuments(ctx, t, c, sink)
	case onlyReads(c):
		rows, err = r.showReply(ctx, t, c, sink)
	default:
		rows, err = r.execWrite(ctx, t, c, sink)
	}
	return rows, execFailure(c, err)
}

// document is the one column of what exec prints: documents of one collection have fields of their own each.
var document = []string{"document"}

// sinkError is one of the taker of the documents, not of the server.
type sinkError struct{ error }

func give(doc any, sink tenant.RowSink) error {
	text, err := bson.MarshalExtJSON(doc, false, false)
	if err != nil {
		return fmt.Errorf("write a document as Extended JSON: %w", err)
	}
	if err := sink.Row([]any{json.RawMessage(text)}); err != nil {
		return sinkError{err}
	}
	return nil
}

func (r *Resource) streamDocuments(ctx context.Context, t tenant.Tenant, c command, sink tenant.RowSink) (rows int64, err error) {
	cursor, err := r.db(t).RunCommandCursor(ctx, withCursor(c).body)
	if err != nil {
		return 0, err
	}
	// A cursor that is not closed ends by itself; what matters was read.
	defer func() { _ = cursor.Close(context.WithoutCancel(ctx)) }()
	if err := sink.Columns(document); err != nil {
		return 0, sinkError{err}
	}
	for cursor.Next(ctx) {
		if err := give(cursor.Current, sink); err != nil {
			return rows, err
		}
		rows++
	}
	return rows, cursor.Err()
}

// withCursor gives an aggregate the field that servers ask for and nobody types.
func withCursor(c command) command {
	if c.name == "aggregate" && c.field("cursor") == nil {
		c.body = append(slices.Clone(c.body), bson.E{Key: "cursor", Value: bson.D{}})
	}
	return c
}

// showReply prints the reply of a command that has no cursor.
func (r *Resource) showReply(ctx context.Context, t tenant.Tenant, c command, sink tenant.RowSink) (int64, error) {
	var reply bson.D
	if err := r.db(t).RunCommand(ctx, c.body).Decode(&reply); err != nil {
		return 0, err
	}
	return 1, showDocument(reply, sink)
}

func showDocument(reply bson.D, sink tenant.RowSink) error {
	reply = slices.DeleteFunc(reply, func(e bson.E) bool {
		return e.Key == "ok" || e.Key == "$clusterTime" || e.Key == "operationTime"
	})
	if err := sink.Columns(document); err != nil {
		return sinkError{err}
	}
	return give(reply, sink)
}

// execWrite runs a command that changes something. Of those that count documents the number is all that is said.
func (r *Resource) execWrite(ctx context.Context, t tenant.Tenant, c command, sink tenant.RowSink) (int64, error) {
	db, cmd := r.db(t), r.concerned(withCursor(c).body)
	if c.name == "renameCollection" {
		to, _ := c.field("to").(string)
		cmd = r.concerned(c.with(c.name, t.Database+"."+c.collection).with("to", t.Database+"."+to).body)
		db = r.client.Database("admin")
	}
	var reply bson.D
	err := write(ctx, func(ctx context.Context) error { return db.RunCommand(ctx, cmd).Decode(&reply) })
	if err != nil {
		return 0, err
	}
	switch c.name {
	case "insert", "update", "delete":
		n, _ := number(lookup(reply, "n"))
		return int64(n), nil
	case "findAndModify":
		return 1, showDocument(reply, sink)
	}
	return 0, nil
}

// execFailure says why a command of the user's failed, and what that leaves.
func execFailure(c command, err error) error {
	var taker sinkError
	if errors.As(err, &taker) {
		return taker.error
	}
	err = failure("run "+c.String(), err)
	var e *tenant.Error
	if !errors.As(err, &e) || e.Store != tenant.KindMongoDB {
		return err
	}
	if slices.Contains([]string{"insert", "update", "delete", "aggregate"}, c.name) && !onlyReads(c) && e.Hint == "" {
		e.Hint = "what it changed before it failed stays changed: MongoDB undoes nothing of a command"
	}
	return err
}
