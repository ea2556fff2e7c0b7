package legacy

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
	"strings"
	"sync"
	"time"

	"go.mongodb.org/mongo-driver/v2/bson"
	"go.mongodb.org/mongo-driver/v2/mongo"
	"go.mongodb.org/mongo-driver/v2/mongo/options"
	"go.mongodb.org/mongo-driver/v2/mongo/readpref"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/connstring"
	"go.mongodb.org/mongo-driver/v2/x/mongo/driver/topology"

	"github.com/tenantctl/tenantctl/tenant"
)

// mongoSource reads the collections of one MongoDB database.
type mongoSource struct {
	name   string
	uuid   string // order of the bytes of legacy UUIDs
	client *mongo.Client
	db     *mongo.Database

	mu       sync.Mutex
	snapshot *bson.Timestamp // nil where there is none
}

const (
	mongoTimeout = 10 * time.Second
	mongoBatch   = 1000
	mongoChunk   = 500 // documents that are looked for at once

	mongoUnauthorized   = 13
	mongoAuthentication = 18
	mongoSnapshotTooOld = 239
)

// openMongoDB connects to the database that a URL names, as in mongodb://user:password@host:27017/database.
func openMongoDB(ctx context.Context, spec *SourceSpec, url, name string) (source, error) {
	// What the driver says of a broken URL may quote the password.
	invalid := func(msg string) error {
		return &tenant.Error{Kind: tenant.ErrInvalid, Store: "source " + name, Msg: msg, Hint: "write it as mongodb://user:password@host:27017/database?authSource=admin, with special characters percent-encoded"}
	}
	parsed, err := connstring.ParseAndValidate(url)
	if err != nil {
		return nil, invalid("the URL is not a MongoDB connection string")
	}
	if parsed.Database == "" {
		return nil, invalid("the URL names no database")
	}
	opts := options.Client().ApplyURI(url).SetAppName("tenantctl").SetServerSelectionTimeout(mongoTimeout).SetConnectTimeout(mongoTimeout).
		SetReadPreference(readpref.Primary()).SetMaxPoolSize(uint64(cmp.Or(max(spec.MaxConnections, 0), 4)))
	client, err := mongo.Connect(opts)
	if err != nil {
		return nil, invalid("the URL cannot be used")
	}
	s := &mongoSource{name: name, uuid: spec.UUID, client: client, db: client.Database(parsed.Database)}
	if err := client.Ping(ctx, nil); err != nil {
		s.close()
		return nil, s.failed("connect", err)
	}
	return s, nil
}

func (s *mongoSource) failed(verb string, err error) error {
	var ours *tenant.Error
	if err == nil || errors.As(err, &ours) {
		return err
	}
	e := &tenant.Error{Store: "source " + s.name, Err: err}
	var answer mongo.CommandError
	switch {
	case errors.As(err, &answer) && !mongo.IsNetworkError(err):
		e.Msg, e.Code = verb+": "+answer.Message, fmt.Sprintf("mongodb_%d", answer.Code)
		switch answer.Code {
		case mongoUnauthorized:
			e.Kind, e.Hint = tenant.ErrRights, "give the URL's user the role read on the database"
		case mongoAuthentication:
			e.Kind, e.Hint = tenant.ErrUnreachable, "check the URL's user, password and authSource"
		case mongoSnapshotTooOld:
			e.Hint = "raise minSnapshotHistoryWindowInSeconds of the server above what the import takes"
		}
	case errors.Is(err, context.Canceled):
		e.Kind, e.Msg = tenant.ErrInterrupted, verb+": interrupted"
	case errors.As(err, new(topology.ServerSelectionError)), errors.As(err, new(topology.ConnectionError)), mongo.IsTimeout(err):
		e.Kind, e.Msg, e.Hint = tenant.ErrUnreachable, verb+": the server does not answer or does not let the user in", "is the server running, and is the URL right?"
	default:
		e.Msg, e.Hint = verb+": the connection broke", "run the same command again: it goes on from the last checkpoint"
	}
	return e
}

func (s *mongoSource) close() {
	ctx, cancel := context.WithTimeout(context.Background(), mongoTimeout)
	defer cancel()
	_ = s.client.Disconnect(ctx) // nothing was written
}

// begin takes the moment that all sessions see, where the server can go back to one.
func (s *mongoSource) begin(ctx context.Context) (string, error) {
	const none = "this server has no snapshots: what is written while the import runs may be read or not"
	var hello struct {
		SetName string `bson:"setName"`
		Router  string `bson:"msg"`
	}
	if err := s.db.RunCommand(ctx, bson.D{{Key: "hello", Value: 1}}).Decode(&hello); err != nil {
		return "", s.failed("ask the server what it is", err)
	}
	if hello.SetName == "" && hello.Router != "isdbgrid" {
		return none, nil
	}
	session, err := s.client.StartSession(options.Session().SetSnapshot(true))
	if err != nil {
		return none, nil // it knows no sessions
	}
	defer session.EndSession(context.WithoutCancel(ctx))
	// The first read sets the moment.
	err = s.db.Collection("tenantctl").FindOne(mongo.NewSessionContext(ctx, session), bson.D{}).Err()
	var answer mongo.CommandError
	switch {
	case errors.As(err, &answer) && !mongo.IsNetworkError(err):
		return none, nil
	case err != nil && !errors.Is(err, mongo.ErrNoDocuments):
		return "", s.failed("take a snapshot", err)
	}
	at := session.SnapshotTime()
	if at.T == 0 {
		return none, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshot = &at
	return "the server keeps the snapshot for as long as its minSnapshotHistoryWindowInSeconds, 5 minutes by default", nil
}

func (s *mongoSource) end() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.snapshot = nil
}

// within gives a context whose reads see the snapshot.
func (s *mongoSource) within(ctx context.Context) (context.Context, func(), error) {
	s.mu.Lock()
	at := s.snapshot
	s.mu.Unlock()
	if at == nil {
		return ctx, func() {}, nil
	}
	session, err := s.client.StartSession(options.Session().SetSnapshot(true).SetSnapshotTime(*at))
	if err != nil {
		return nil, nil, s.failed("connect", err)
	}
	return mongo.NewSessionContext(ctx, session), func() { session.EndSession(context.WithoutCancel(ctx)) }, nil
}

// find gives the documents of a collection in the order of _id.
func (s *mongoSource) find(ctx context.Context, collection string, filter any, yield func(bson.Raw) error, opts ...options.Lister[options.FindOptions]) error {
	ctx, done, err := s.within(ctx)
	if err != nil {
		return err
	}
	defer done()
	opts = append(opts, options.Find().SetSort(bson.D{{Key: "_id", Value: 1}}).SetBatchSize(mongoBatch))
	cursor, err := s.db.Collection(collection).Find(ctx, filter, opts...)
	if err != nil {
		return s.failed("read collection "+collection, err)
	}
	defer func() { _ = cursor.Close(context.WithoutCancel(ctx)) }()
	for cursor.Next(ctx) {
		if err := yield(cursor.Current); err != nil {
			return err
		}
	}
	return s.failed("read collection "+collection, cursor.Err())
}

func (s *mongoSource) describe(ctx context.Context, names []string) ([]*sourceTable, error) {
	there, err := s.db.ListCollectionNames(ctx, bson.D{})
	if err != nil {
		return nil, s.failed("list the collections", err)
	}
	slices.Sort(there)
	var out []*sourceTable
	for _, name := range there {
		if names != nil && !slices.Contains(names, name) || names == nil && strings.HasPrefix(name, "system.") {
			continue
		}
		t := &sourceTable{name: name, primaryKey: []string{"_id"}}
		if t.rows, err = s.db.Collection(name).EstimatedDocumentCount(ctx); err != nil {
			return nil, s.failed("count collection "+name, err)
		}
		var count, size int64
		err := s.find(ctx, name, bson.D{}, func(doc bson.Raw) error {
			elements, err := doc.Elements()
			if err != nil {
				return fmt.Errorf("read collection %s: a document is malformed: %w", name, err)
			}
			count, size = count+1, size+int64(len(doc))
			for _, e := range elements {
				t.see(e.Key(), e.Value())
			}
			return nil
		}, options.Find().SetLimit(sampleRecords))
		if err != nil {
			return nil, err
		}
		if count > 0 {
			t.bytes = t.rows * (size / count)
		}
		for i := range t.columns {
			if c := &t.columns[i]; c.typ == "" {
				c.kind, c.typ = kindText, "null"
			}
		}
		out = append(out, t)
	}
	return out, nil
}

// see takes a field of a document into account.
func (t *sourceTable) see(name string, v bson.RawValue) {
	c := t.column(name)
	if c == nil {
		t.columns = append(t.columns, sourceColumn{name: name, notNull: name == "_id"})
		c = &t.columns[len(t.columns)-1]
	}
	k, typ := bsonKind(v)
	switch {
	case typ == "" || c.typ == typ:
	case c.typ == "":
		c.kind, c.typ = k, typ
	case c.kind == k:
		c.typ += " or " + typ
	case slices.Contains([]kind{kindInt, kindFloat}, c.kind) && slices.Contains([]kind{kindInt, kindFloat}, k):
		c.kind, c.typ = kindFloat, "double"
	default:
		c.kind, c.typ = kindText, "mixed"
	}
}

// bsonKind is a value's kind and the name of its type; empty for null.
func bsonKind(v bson.RawValue) (kind, string) {
	switch v.Type {
	case bson.TypeNull, bson.TypeUndefined:
		return kindText, ""
	case bson.TypeInt32:
		return kindInt, "int"
	case bson.TypeInt64:
		return kindInt, "long"
	case bson.TypeDouble:
		return kindFloat, "double"
	case bson.TypeDecimal128:
		return kindDecimal, "decimal"
	case bson.TypeBoolean:
		return kindBool, "bool"
	case bson.TypeObjectID:
		return kindText, "objectId"
	case bson.TypeDateTime, bson.TypeTimestamp:
		return kindInstant, "date"
	case bson.TypeBinary:
		if subtype, _ := v.Binary(); subtype == bson.TypeBinaryUUID {
			return kindUUID, "uuid"
		}
		return kindBytes, "binData"
	case bson.TypeEmbeddedDocument:
		return kindJSON, "object"
	case bson.TypeArray:
		return kindJSON, "array"
	}
	return kindText, "string"
}

func (s *mongoSource) parts(ctx context.Context, q *query, _ int64) ([]part, error) {
	rows, err := s.db.Collection(q.table.From).EstimatedDocumentCount(ctx)
	if err != nil {
		return nil, s.failed("count collection "+q.table.From, err)
	}
	return []part{{id: "all", rows: rows}}, nil
}

// resume goes on by _id, which stays what it is.
func (s *mongoSource) resume(_ context.Context, _ *query, before []plannedPart) ([]part, string, error) {
	return planned(before), "", nil
}

func (s *mongoSource) read(ctx context.Context, q *query, _ part, after string, yield func(*record) error) error {
	w, err := newMongoWriter(q, s.uuid)
	if err != nil {
		return err
	}
	var unknown []string // types that the server has no documents of
	for {
		filter, err := s.filter(q, after, unknown)
		if err != nil {
			return err
		}
		opts := options.Find()
		if p := w.projection(); p != nil {
			opts.SetProjection(p)
		}
		err = s.readFound(ctx, q, w, filter, opts, yield)
		var answer mongo.CommandError
		if !errors.As(err, &answer) {
			return err
		}
		_, name, found := strings.Cut(answer.Message, "Unknown type name alias: ")
		if !found || slices.Contains(unknown, name) {
			return err
		}
		unknown = append(unknown, name)
	}
}

// readFound writes the documents that a filter matches. Where others belong to them, those are looked up for many at once.
func (s *mongoSource) readFound(ctx context.Context, q *query, w *mongoWriter, filter bson.D, opts options.Lister[options.FindOptions], yield func(*record) error) error {
	if len(q.table.Via)+len(q.table.Embed) == 0 {
		return s.find(ctx, q.table.From, filter, func(doc bson.Raw) error {
			w.write(doc)
			return yield(&w.rec)
		}, opts)
	}
	var docs []bson.Raw
	size := 0
	err := s.find(ctx, q.table.From, filter, func(doc bson.Raw) error {
		docs, size = append(docs, bytes.Clone(doc)), size+len(doc)
		if len(docs) < mongoChunk && size < documentBytes {
			return nil
		}
		all := docs
		docs, size = nil, 0
		return s.eachJoined(ctx, q, w, all, yield)
	}, opts)
	if err != nil || len(docs) == 0 {
		return err
	}
	return s.eachJoined(ctx, q, w, docs, yield)
}

// filter matches what a query reads, from behind a position.
func (s *mongoSource) filter(q *query, after string, unknown []string) (bson.D, error) {
	var conds bson.A
	if after != "" {
		id, err := mongoID(after)
		if err != nil {
			return nil, fmt.Errorf("go on in collection %s: %q is no position in it", q.table.From, after)
		}
		conds = append(conds, behindID(id, unknown...))
	}
	if q.since != "" {
		conds = append(conds, sinceFilter(q.table.Since, q.since))
	}
	where, err := whereFilter(q.table)
	if err != nil {
		return nil, err
	}
	if where != nil {
		conds = append(conds, where)
	}
	if len(conds) == 0 {
		return bson.D{}, nil
	}
	return bson.D{{Key: "$and", Value: conds}}, nil
}

// bsonOrder has the types, as $type calls them, in the order in which MongoDB sorts them.
var bsonOrder = []struct {
	names []string
	types []bson.Type
}{
	{[]string{"minKey"}, []bson.Type{bson.TypeMinKey}},
	{[]string{"undefined"}, []bson.Type{bson.TypeUndefined}},
	{[]string{"null"}, []bson.Type{bson.TypeNull}},
	{[]string{"number"}, []bson.Type{bson.TypeInt32, bson.TypeInt64, bson.TypeDouble, bson.TypeDecimal128}},
	{[]string{"string", "symbol"}, []bson.Type{bson.TypeString, bson.TypeSymbol}},
	{[]string{"object"}, []bson.Type{bson.TypeEmbeddedDocument}},
	{[]string{"binData"}, []bson.Type{bson.TypeBinary}},
	{[]string{"objectId"}, []bson.Type{bson.TypeObjectID}},
	{[]string{"bool"}, []bson.Type{bson.TypeBoolean}},
	{[]string{"date"}, []bson.Type{bson.TypeDateTime}},
	{[]string{"timestamp"}, []bson.Type{bson.TypeTimestamp}},
	{[]string{"regex"}, []bson.Type{bson.TypeRegex}},
	{[]string{"dbPointer"}, []bson.Type{bson.TypeDBPointer}},
	{[]string{"javascript"}, []bson.Type{bson.TypeJavaScript}},
	{[]string{"javascriptWithScope"}, []bson.Type{bson.TypeCodeWithScope}},
	{[]string{"maxKey"}, []bson.Type{bson.TypeMaxKey}},
}

// behindID matches the documents behind an _id: $gt alone finds those of the same type only. unknown are names of types that
// the server has no documents of.
func behindID(id bson.RawValue, unknown ...string) bson.D {
	either := bson.A{}
	isType := func(name string) bson.D {
		return bson.D{{Key: "_id", Value: bson.D{{Key: "$type", Value: name}}}}
	}
	behind := false
	for _, o := range bsonOrder {
		here := slices.Contains(o.types, id.Type)
		switch {
		case behind:
			for _, name := range o.names {
				if !slices.Contains(unknown, name) {
					either = append(either, isType(name))
				}
			}
		case here && isNaN(id):
			// It is the least number, and $gt finds nothing behind it. A value equals NaN as well.
			either = append(either, bson.D{{Key: "_id", Value: bson.D{{Key: "$type", Value: "number"}, {Key: "$ne", Value: id}}}})
		case here && len(o.types) == 1 && (id.Type == bson.TypeMinKey || id.Type == bson.TypeMaxKey || id.Type == bson.TypeNull || id.Type == bson.TypeUndefined):
			// There is one value of the type.
		case here:
			either = append(either, bson.D{{Key: "_id", Value: bson.D{{Key: "$gt", Value: id}}}})
		}
		behind = behind || here
	}
	if len(either) == 0 {
		return bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: bson.A{}}}}} // nothing is behind it
	}
	return bson.D{{Key: "$or", Value: either}}
}

// isNaN tells whether a value is no number, of a type of numbers.
func isNaN(v bson.RawValue) bool {
	switch v.Type {
	case bson.TypeDouble:
		return math.IsNaN(v.Double())
	case bson.TypeDecimal128:
		return v.Decimal128().IsNaN()
	}
	return false
}

// sinceFilter matches values from since on, as whichever type they have.
func sinceFilter(field, since string) bson.D {
	either := bson.A{bson.D{{Key: field, Value: bson.D{{Key: "$gte", Value: since}}}}}
	if t, ok := parseTime(since); ok {
		either = append(either, bson.D{{Key: field, Value: bson.D{{Key: "$gte", Value: t}}}})
	}
	var number json.Number
	if json.Unmarshal([]byte(since), &number) == nil {
		if n, err := bson.ParseDecimal128(number.String()); err == nil {
			if f, ferr := number.Float64(); ferr == nil && fmt.Sprint(f) == number.String() {
				either = append(either, bson.D{{Key: field, Value: bson.D{{Key: "$gte", Value: f}}}})
			} else {
				either = append(either, bson.D{{Key: field, Value: bson.D{{Key: "$gte", Value: n}}}})
			}
		}
	}
	return bson.D{{Key: "$or", Value: either}}
}
