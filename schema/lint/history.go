package lint

import (
	"encoding/json"
	"slices"
	"strings"
)

// History is what migrations made so far, as far as it decides what a later statement does. What they do not tell is
// not there: a table that is missing is one in use, of which nothing is known.
type History struct {
	known   map[string]bool // tables and views that some statement made
	tables  map[string]*table
	indexes map[string]string // the table of each
	domains map[string]bool   // whether each has a constraint
}

// table is what is known of one.
type table struct {
	columns     map[string]*column
	constraints map[string]*guard
	primary     []text
}

type column struct {
	typ     *typeName
	notNull bool
}

// guard is a constraint.
type guard struct {
	refers  string // a foreign key's other table
	columns []text // a foreign key's own
	keys    []text // those it refers to
	notNull string // the column of CHECK (column IS NOT NULL)
	valid   bool
}

// New is the history of an empty schema.
func New() *History {
	return &History{known: map[string]bool{}, tables: map[string]*table{}, indexes: map[string]string{}, domains: map[string]bool{}}
}

// table is what is known of it; of one that is not known it begins to be.
func (h *History) table(name string) *table {
	t := h.tables[name]
	if t == nil {
		t = &table{columns: map[string]*column{}, constraints: map[string]*guard{}}
		h.tables[name] = t
	}
	return t
}

func (t *table) column(name string) *column {
	c := t.columns[name]
	if c == nil {
		c = &column{}
		t.columns[name] = c
	}
	return c
}

// neverNull tells whether a column is known to have no NULL: SET NOT NULL then reads nothing.
func (t *table) neverNull(name string) bool {
	if c := t.columns[name]; c != nil && c.notNull {
		return true
	}
	for _, k := range t.constraints {
		if k.valid && k.notNull == name {
			return true
		}
	}
	return false
}

// define remembers a column with the constraints that stand behind it.
func (h *History) define(name string, c *columnDef) {
	t := h.table(name)
	col := &column{typ: &c.TypeName}
	t.columns[c.ColName] = col
	for _, k := range c.Constraints {
		switch k.Constraint.ConType {
		case "CONSTR_NOTNULL", "CONSTR_PRIMARY", "CONSTR_IDENTITY":
			col.notNull = true
		}
		on := k.Constraint
		on.Keys, on.FKAttrs = []text{textOf(c.ColName)}, []text{textOf(c.ColName)}
		h.constrain(name, &on)
	}
}

func textOf(s string) text {
	var t text
	t.String.SVal = s
	return t
}

// constrain remembers a constraint.
func (h *History) constrain(name string, c *constraint) {
	t := h.table(name)
	k := &guard{valid: !c.SkipValidation}
	suffix := ""
	switch c.ConType {
	case "CONSTR_FOREIGN":
		k.refers, k.columns, k.keys = c.PKTable.name(), c.FKAttrs, c.PKAttrs
		if other := h.tables[k.refers]; len(k.keys) == 0 && other != nil {
			k.keys = other.primary
		}
		suffix = joined(c.FKAttrs) + "_fkey"
	case "CONSTR_CHECK":
		k.notNull = notNullColumn(c.RawExpr)
		suffix = joined(c.Keys) + "_check"
	case "CONSTR_PRIMARY":
		t.primary = c.Keys
		for _, key := range c.Keys {
			t.column(key.String.SVal).notNull = true
		}
		suffix = "pkey"
	case "CONSTR_UNIQUE":
		suffix = joined(c.Keys) + "_key"
	default:
		return
	}
	id := c.ConName
	if id == "" { // as PostgreSQL names it, where that is free
		id = base(name) + "_" + strings.ReplaceAll(suffix, ".", "_")
	}
	t.constraints[id] = k
	if c.ConType == "CONSTR_PRIMARY" || c.ConType == "CONSTR_UNIQUE" {
		h.indexes[id] = name
	}
}

// base is a name without its schema.
func base(name string) string { return name[strings.LastIndexByte(name, '.')+1:] }

// rename gives a table another name.
func (h *History) rename(from, to string) {
	if i := strings.LastIndexByte(from, '.'); i >= 0 {
		to = from[:i+1] + to
	}
	if t, ok := h.tables[from]; ok {
		delete(h.tables, from)
		h.tables[to] = t
	}
	if h.known[from] {
		delete(h.known, from)
		h.known[to] = true
	}
	for i, t := range h.indexes {
		if t == from {
			h.indexes[i] = to
		}
	}
	for _, t := range h.tables {
		for _, k := range t.constraints {
			if k.refers == from {
				k.refers = to
			}
		}
	}
}

// forget drops a table.
func (h *History) forget(name string) {
	delete(h.tables, name)
	for i, t := range h.indexes {
		if t == name {
			delete(h.indexes, i)
		}
	}
	for _, t := range h.tables {
		for id, k := range t.constraints {
			if k.refers == name {
				delete(t.constraints, id)
			}
		}
	}
}

// refersTo lists the tables that a table's foreign keys refer to.
func (h *History) refersTo(name string) []string {
	var out []string
	if t := h.tables[name]; t != nil {
		for _, k := range t.constraints {
			if k.refers != "" && k.refers != name {
				out = append(out, k.refers)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// referrers lists the tables with a foreign key to one.
func (h *History) referrers(name string) []string {
	var out []string
	for other, t := range h.tables {
		for _, k := range t.constraints {
			if k.refers == name && other != name {
				out = append(out, other)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// keysOf lists the tables that foreign keys of a column refer to.
func (t *table) keysOf(column string) []string {
	var out []string
	for _, k := range t.constraints {
		if slices.Contains(k.columns, textOf(column)) {
			out = append(out, k.refers)
		}
	}
	slices.Sort(out)
	return out
}

// keysTo lists the tables with a foreign key to a column.
func (h *History) keysTo(name, column string) []string {
	var out []string
	for other, t := range h.tables {
		for _, k := range t.constraints {
			if k.refers == name && slices.Contains(k.keys, textOf(column)) {
				out = append(out, other)
			}
		}
	}
	slices.Sort(out)
	return out
}

// ofType lists the tables with a column of a type.
func (h *History) ofType(name string) []string {
	var out []string
	for other, t := range h.tables {
		for _, c := range t.columns {
			if c.typ != nil && joined(c.typ.Names) == name {
				out = append(out, other)
			}
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

// notNullColumn is the column of which an expression says no more than that it IS NOT NULL, or "".
func notNullColumn(expr json.RawMessage) string {
	var e struct {
		NullTest struct {
			Arg          columnRef
			NullTestType string
		}
	}
	if json.Unmarshal(expr, &e) != nil || e.NullTest.NullTestType != "IS_NOT_NULL" {
		return ""
	}
	return e.NullTest.Arg.name()
}

// columnRef is a column that is named in an expression.
type columnRef struct {
	ColumnRef struct{ Fields []text }
}

// name is the column's, or "" where the node is none.
func (c columnRef) name() string {
	if len(c.ColumnRef.Fields) == 0 {
		return ""
	}
	return c.ColumnRef.Fields[len(c.ColumnRef.Fields)-1].String.SVal
}
