// Package lint tells what a statement of PostgreSQL would do to tables that are in use: which locks it takes, what it
// rewrites or reads through, and which rules for live tables it breaks. It knows no server: what earlier statements
// made is kept in a History.
package lint

import (
	"fmt"
	"slices"
)

// Mode is a lock on a table, as pg_locks names it, weakest first.
type Mode int

// The modes by their numbers in PostgreSQL, in which LOCK TABLE is parsed.
const (
	AccessShare Mode = iota + 1
	RowShare
	RowExclusive
	ShareUpdateExclusive
	Share
	ShareRowExclusive
	Exclusive
	AccessExclusive
)

var modes = []string{
	"", "ACCESS SHARE", "ROW SHARE", "ROW EXCLUSIVE", "SHARE UPDATE EXCLUSIVE", "SHARE", "SHARE ROW EXCLUSIVE", "EXCLUSIVE", "ACCESS EXCLUSIVE",
}

func (m Mode) String() string { return modes[m] }

// Lock is the strongest lock that a statement takes on one table, view or sequence.
type Lock struct {
	Table string // as the statement names it
	Mode  Mode
}

// Statement is what one statement does. Tables that the same file made are left out: nobody waits for them.
type Statement struct {
	Locks    []Lock   // in the order in which the statement names them
	Rewrites []string // tables that are written anew, with their indexes
	Scans    []string // tables that are read from end to end
	Opaque   bool     // it does more than it says: a DO block, a CALL, CASCADE, every table at once
	Findings []Finding
}

// Finding is one rule that a statement breaks.
type Finding struct {
	Rule    string
	Line    int // in the statement's text, from 1
	Message string
}

// SyntaxError is what the parser says of a statement that is none.
type SyntaxError struct {
	Line int // in the statement's text, from 1
	Msg  string
}

func (e *SyntaxError) Error() string { return e.Msg }

// Syntax tells whether PostgreSQL would read the statement; the error is a *SyntaxError.
func Syntax(sql string) error {
	_, err := parse(sql)
	return err
}

// File is a migration that is being read.
type File struct {
	*History
	transaction bool              // all statements are one transaction
	made        map[string]bool   // tables of this file, which nobody else uses yet
	notValid    map[string]bool   // table and constraint that were added as NOT VALID
	exclusive   []string          // tables under ACCESS EXCLUSIVE so far
	enums       map[string]bool   // types of this file
	values      map[string]string // new values of older enums, with their type
}

// File begins a migration, in one transaction or not.
func (h *History) File(transaction bool) *File {
	return &File{History: h, transaction: transaction, made: map[string]bool{}, notValid: map[string]bool{}, enums: map[string]bool{}, values: map[string]string{}}
}

// Read looks at the next statement of the file and remembers what it makes. The error is a *SyntaxError.
func (f *File) Read(sql string) (Statement, error) {
	nodes, err := parse(sql)
	if err != nil {
		return Statement{}, err
	}
	r := reader{File: f, sql: sql}
	for _, n := range nodes {
		r.node = n.raw
		r.read(&n.statement)
		r.usesValues()
	}
	r.several()
	return r.Statement, nil
}

// reader looks at one statement.
type reader struct {
	*File
	Statement
	sql  string
	node []byte // the statement as the parser gave it
}

// live tells whether a table is in use: it was there before this file.
func (f *File) live(table string) bool { return !f.made[table] }

// lock notes a lock; the strongest one of each table counts.
func (r *reader) lock(table string, m Mode) {
	if table == "" || !r.live(table) {
		return
	}
	if i := slices.IndexFunc(r.Locks, func(l Lock) bool { return l.Table == table }); i >= 0 {
		r.Locks[i].Mode = max(r.Locks[i].Mode, m)
		return
	}
	r.Locks = append(r.Locks, Lock{table, m})
}

func (r *reader) rewrite(table string) { r.Rewrites = r.with(r.Rewrites, table) }
func (r *reader) scan(table string)    { r.Scans = r.with(r.Scans, table) }

func (r *reader) with(tables []string, table string) []string {
	if !r.live(table) || slices.Contains(tables, table) {
		return tables
	}
	return append(tables, table)
}

// found notes a broken rule at a place in the statement, in bytes; 0 is its beginning.
func (r *reader) found(rule string, at int, format string, args ...any) {
	r.Findings = append(r.Findings, Finding{Rule: rule, Line: lineAt(r.sql, at), Message: fmt.Sprintf(format, args...)})
}

// several finds the second table that one transaction takes from everybody else.
func (r *reader) several() {
	if !r.transaction {
		return
	}
	for _, l := range r.Locks {
		if l.Mode != AccessExclusive || slices.Contains(r.exclusive, l.Table) {
			continue
		}
		r.exclusive = append(r.exclusive, l.Table)
		if len(r.exclusive) == 2 {
			r.found(SeveralLocks, 0, "%s is locked against reading while %s still is, until the file ends: a query that takes them in the other order ends in a deadlock", l.Table, r.exclusive[0])
		}
	}
}
