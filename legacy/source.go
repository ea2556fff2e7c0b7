package legacy

import (
	"context"
	"encoding/json"
)

// source is a place that rows come from. Its methods may be called from many goroutines.
type source interface {
	// describe gives the tables, collections or files that there are. Only what names lists, where it is not nil.
	describe(ctx context.Context, names []string) ([]*sourceTable, error)
	// tenants gives the rows of the mapping's tenant list, one after another.
	tenants(ctx context.Context, l *TenantList, yield func(tenantRow) error) error
	// begin takes the snapshot that everything is read from until end. It says in words for a person what the snapshot
	// does not cover; "" where it covers everything.
	begin(ctx context.Context) (limits string, err error)
	end()
	// parts splits what a query reads into parts that can be read independently, each about size bytes.
	parts(ctx context.Context, q *query, size int64) ([]part, error)
	// resume gives the parts by which an interrupted load goes on: those that it was planned as, by the same ids, and others
	// for what has come since. changed says in words for a person why what is loaded cannot be told from what is not.
	resume(ctx context.Context, q *query, planned []plannedPart) (parts []part, changed string, err error)
	// read streams a part's records, from behind the position after where that is not empty. The record and what it
	// points to are only valid until yield returns.
	read(ctx context.Context, q *query, p part, after string, yield func(*record) error) error
	// originals gives back the source's rows of records that were rejected, by their refs, in the same order.
	originals(ctx context.Context, q *query, refs [][]byte) ([]original, error)
	// reread gives records for rows as originals gave them, edited perhaps: the rows of a rejects file.
	reread(ctx context.Context, q *query, rows []json.RawMessage, yield func(*record) error) error
	close()
}

// digester is a source that computes counts and checksums by itself.
type digester interface {
	// digest gives for each tenant's key, as text, the number of rows and the sum of their checksums, without the rows
	// whose keys are in without.
	digest(ctx context.Context, q *query, without []string) (map[string]digest, error)
	// sameBytes tells whether its texts have the bytes that UTF-8 gives them.
	sameBytes() bool
}

// sourceTable is what a source knows of a table, collection or file.
type sourceTable struct {
	name        string
	columns     []sourceColumn
	primaryKey  []string
	unique      [][]string // other unique keys
	foreignKeys []foreignKey
	rows        int64 // about
	bytes       int64 // about
	view        bool
	partitioned bool
}

func (t *sourceTable) column(name string) *sourceColumn {
	for i := range t.columns {
		if t.columns[i].name == name {
			return &t.columns[i]
		}
	}
	return nil
}

// sourceColumn is a column of a source. Files and collections give the fields that a sample of their records has.
type sourceColumn struct {
	name    string
	typ     string // in the source's own words, such as "character varying(15)" or "int unsigned"
	kind    kind
	length  int // most characters of a text; 0 for no limit
	notNull bool
	labels  []string // of an enum
}

// kind is what a value is, across the stores.
type kind string

const (
	kindInt       kind = "int" // up to 64 bits
	kindDecimal   kind = "decimal"
	kindFloat     kind = "float"
	kindBool      kind = "bool"
	kindText      kind = "text"
	kindBytes     kind = "bytes"
	kindDate      kind = "date"
	kindTime      kind = "time"
	kindTimestamp kind = "timestamp" // without a time zone
	kindInstant   kind = "timestamptz"
	kindInterval  kind = "interval"
	kindUUID      kind = "uuid"
	kindJSON      kind = "json"
	kindOther     kind = "other" // by its text
)

type foreignKey struct {
	name       string
	columns    []string
	table      string // that it refers to
	references []string
}

// tenantRow is one row of the tenant list. Nil pointers are NULL.
type tenantRow struct {
	key     *string
	name    *string
	domains []string
	labels  map[string]string
}

// query is what is read for one table of the mapping.
type query struct {
	table *Table
	// fields are read in this order. For a document they are its fields.
	fields   []field
	document bool // each record is one document in Extended JSON, as a single COPY field
	raw      bool // each record is one document as it is, in BSON
	literal  *literalJSON
	since    string
	maxRow   int64       // bytes; a longer row is a record with tooLong set
	binary   bool        // lines are tuples of COPY's binary format: the types are the same on both sides
	texts    []textCheck // dates, times and numbers that the source has as text
	only     []string    // keys of the tenants that are wanted; nil for all. A source may give the others' rows too
}

// field is a column of the target and where it comes from.
type field struct {
	name   string // in the target
	column Column
	kind   kind   // of the target; of the source for a document
	typ    string // of the target, as format_type writes it; empty for a document
	cast   string // typ where every PostgreSQL knows it: a type of the system's own; else empty
	key    bool   // part of the target's primary key
	conv   conversion
}

// part is a stretch of what a query reads.
type part struct {
	id        string // stable
	low, high string // the source's own bounds
	rows      int64  // about
}

// plannedPart is a part of an interrupted load.
type plannedPart struct {
	part
	begun bool // some of its rows are loaded
}

// planned are all of them as they were.
func planned(parts []plannedPart) []part {
	out := make([]part, len(parts))
	for n, p := range parts {
		out[n] = p.part
	}
	return out
}

// record is one row on its way to a tenant.
type record struct {
	key     []byte // of the tenant, as text; nil for NULL
	orphan  string // which row of via is missing, in words; key is nil then
	tooLong int64  // bytes, where the row is longer than may be: line is empty then
	broken  string // why the source could not read it, such as a malformed CSV line; line is empty then
	line    []byte // the query's fields as one line of COPY's text format, with its newline
	ref     []byte // by which the source finds the original row again
	after   string // position behind this record, for read; empty where the source cannot go on inside a part
}

// original is a row as the source has it.
type original struct {
	key string          // the target's primary key as a JSON array of texts, or what else names the row
	row json.RawMessage // an object with the source's columns; null where the row is too long to keep
	// sum is the row's checksum where the source could compute it.
	sum *uint64
}

// digest is a number of rows and the sum of their checksums modulo 2^64.
type digest struct {
	rows int64
	sum  uint64
}

func (d *digest) add(o digest) { d.rows += o.rows; d.sum += o.sum }

// jsonString is a text as JSON writes it.
func jsonString(s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		panic(err) // a string can always be written
	}
	return string(b)
}
