package legacy

import (
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// check compares the mapping with the tables that its sources have, by source, and with the tenant's model. It gives one
// line for each fault, with its place in the file where the mapping has one.
func (m *Mapping) check(srcs map[string][]*sourceTable, tgt target) []string {
	c := &checker{m: m, srcs: srcs, tgt: tgt}
	for _, f := range m.unsuited(m.realStore) {
		c.fault(f.path, "%s", f.Problem)
	}
	c.tenants()
	for i, t := range m.Tables {
		if t.Shared != SharedSkip {
			c.table([]string{"tables", strconv.Itoa(i)}, t)
		}
	}
	c.entries()
	sortFaults(c.faults)
	lines := make([]string, len(c.faults))
	for i, f := range c.faults {
		lines[i] = f.String()
	}
	return slices.Compact(lines)
}

type checker struct {
	m      *Mapping
	srcs   map[string][]*sourceTable
	tgt    target
	faults []Fault
}

func (c *checker) fault(path []string, format string, args ...any) {
	c.faults = append(c.faults, place(c.m.file, c.m.root, path, fmt.Sprintf(format, args...)))
}

// source finds a table of a source, or reports that there is none.
func (c *checker) source(path []string, source, name string) *sourceTable {
	if t := tableNamed(c.srcs[source], name); t != nil {
		return t
	}
	var names []string
	for _, t := range c.srcs[source] {
		names = append(names, t.name)
	}
	c.fault(path, "source %s has no %s%s", source, shown(name), didYouMean(name, names))
	return nil
}

func tableNamed(tables []*sourceTable, name string) *sourceTable {
	for _, t := range tables {
		if t.name == name {
			return t
		}
	}
	return nil
}

// sourceColumn reports a column that a source table lacks.
func (c *checker) sourceColumn(path []string, t *sourceTable, name string) {
	if t == nil || t.column(name) != nil {
		return
	}
	names := make([]string, len(t.columns))
	for i, column := range t.columns {
		names[i] = column.name
	}
	c.fault(path, "%s of the source has no column %s%s", bare(t.name), shown(name), didYouMean(name, names))
}

// sourceField is sourceColumn, but that a field of documents may be a path into them.
func (c *checker) sourceField(path []string, of *Table, t *sourceTable, name string) {
	head, _, _ := strings.Cut(name, ".")
	if t == nil || !c.sampled(of) || t.column(head) == nil {
		c.sourceColumn(path, t, name)
	}
}

// sampled tells whether a source's columns are those of a sample of its records, of which others may have more.
func (c *checker) sampled(t *Table) bool {
	switch c.m.realStore(t.Source) {
	case storeMongoDB:
		return true
	case storeFiles:
		name := strings.TrimSuffix(strings.TrimSuffix(t.From, ".gz"), ".zst")
		return !slices.Contains([]string{".csv", ".tsv"}, filepath.Ext(name))
	}
	return false
}

func (c *checker) tenants() {
	l := &c.m.Tenants
	if l.From == "" {
		return
	}
	path := []string{"tenants"}
	t := c.source(below(path, "from"), l.Source, l.From)
	if !c.sampled(&Table{Source: l.Source, From: l.From}) {
		c.sourceColumn(below(path, "key"), t, l.Key)
	}
}

func (c *checker) table(path []string, t *Table) {
	src := c.source(below(path, "from"), t.Source, t.From)
	sampled := c.sampled(t)
	if src != nil {
		c.key(path, t, src)
	}
	if t.Since != "" && !sampled {
		c.sourceColumn(below(path, "since"), src, t.Since)
	}
	for _, n := range t.Columns {
		c.origin(below(below(path, "columns"), n.Name), t, src, &n.Column, sampled)
	}
	if t.ToCollection != "" {
		c.documents(path, t, src, sampled)
		return
	}
	model := c.tgt[t.To]
	if model == nil {
		advice := didYouMean(t.To, slices.Collect(maps.Keys(c.tgt)))
		if advice == "" {
			advice = "; add it to the migrations first, or name another with to"
		}
		c.fault(below(path, "to"), "the tenants have no table %s%s", shown(t.To), advice)
		return
	}
	c.columns(path, t, src, model)
}

// entries compares those that have one target: a verification looks at all of its rows together.
func (c *checker) entries() {
	first := map[string]int{}
	for i, t := range c.m.Tables {
		if t.ToCollection != "" || t.Shared == SharedSkip || c.tgt[t.To] == nil {
			continue
		}
		path := []string{"tables", strconv.Itoa(i)}
		one, again := first[t.To]
		if !again {
			first[t.To] = i
			continue
		}
		other := c.m.Tables[one]
		switch mine, theirs := c.loaded(t), c.loaded(other); {
		case t.Mode == ModeReplace || other.Mode == ModeReplace:
			c.fault(below(path, "mode"), "mode: replace would empty %s, which several entries load; use insert or upsert", t.To)
		case (t.Shared == SharedSchema) != (other.Shared == SharedSchema):
			c.fault(below(path, "shared"), "%s is loaded into tenants by another entry; shared: schema cannot be for one of them", t.To)
		case !slices.Equal(mine, theirs):
			c.fault(below(path, "columns"), "%s loads the columns %s of %s, and %s loads %s; all entries of one table load the same columns, such as with {value: ...}",
				t.Name(), strings.Join(mine, ", "), t.To, other.Name(), strings.Join(theirs, ", "))
		}
	}
}

// loaded are the columns that an entry loads, sorted.
func (c *checker) loaded(t *Table) []string {
	var names []string
	for _, n := range t.Columns {
		if !n.Column.Default {
			names = append(names, n.Name)
		}
	}
	if src := tableNamed(c.srcs[t.Source], t.From); len(t.Columns) == 0 && src != nil {
		for _, column := range c.tgt[t.To].columns {
			if src.column(column.name) != nil && !column.generated {
				names = append(names, column.name)
			}
		}
	}
	slices.Sort(names)
	return names
}

// key follows the way from a table to the column with the tenant's key.
func (c *checker) key(path []string, t *Table, src *sourceTable) {
	last := src
	for i, hop := range t.Via {
		at := below(below(path, "via"), strconv.Itoa(i))
		for _, column := range hop.Columns {
			c.sourceField(below(at, "columns"), t, last, column)
		}
		if last = c.source(below(at, "table"), t.Source, hop.Table); last == nil {
			return
		}
		known := true
		for _, column := range hop.References {
			c.sourceColumn(below(at, "references"), last, column)
			known = known && last.column(column) != nil
		}
		if known && !hop.Many && !last.isUnique(hop.References) {
			c.fault(below(at, "references"), "%s of %s is no unique key, so that a row of %s could become two; name the columns of a primary or unique key, or write many: true for a row that goes to several tenants",
				strings.Join(hop.References, ", "), last.name, t.From)
		}
	}
	if t.Key != "" {
		c.sourceField(below(path, "key"), t, last, t.Key)
	}
}

// isUnique tells whether no two rows have the same values in the columns.
func (t *sourceTable) isUnique(columns []string) bool {
	within := func(key []string) bool {
		return len(key) > 0 && !slices.ContainsFunc(key, func(k string) bool { return !slices.Contains(columns, k) })
	}
	return within(t.primaryKey) || slices.ContainsFunc(t.unique, within)
}

// origin checks what a column is made of.
func (c *checker) origin(path []string, t *Table, src *sourceTable, column *Column, sampled bool) {
	if *column == (Column{}) {
		c.fault(path, "has none of from, sql, value and lookup; null stands for the target's default")
	}
	if column.From != "" && !sampled {
		c.sourceColumn(path, src, column.From)
	}
	l := column.Lookup
	if l == nil {
		return
	}
	path = below(path, "lookup")
	other := c.source(below(path, "table"), t.Source, l.Table)
	if other == nil {
		return
	}
	theirs := slices.Sorted(maps.Keys(l.Match))
	known := true
	for _, name := range theirs {
		c.sourceColumn(below(below(path, "match"), name), other, name)
		c.sourceColumn(below(below(path, "match"), name), src, l.Match[name])
		known = known && other.column(name) != nil
	}
	c.sourceColumn(below(path, "take"), other, l.Take)
	if known && !other.isUnique(theirs) {
		c.fault(below(path, "match"), "%s of %s is no unique key, so that there could be several values to take; match the columns of a primary or unique key",
			strings.Join(theirs, ", "), other.name)
	}
}

// columns compares a table with the model's.
func (c *checker) columns(path []string, t *Table, src *sourceTable, model *targetTable) {
	given := map[string]bool{}
	names := make([]string, len(model.columns))
	for i, column := range model.columns {
		names[i] = column.name
		given[column.name] = len(t.Columns) == 0 && src != nil && src.column(column.name) != nil && !column.generated
	}
	for _, n := range t.Columns {
		at := below(below(path, "columns"), n.Name)
		switch column := model.column(n.Name); {
		case column == nil:
			c.fault(at, "table %s of the tenants has no column %s%s", t.To, shown(n.Name), didYouMean(n.Name, names))
		case n.Column.Default:
		case column.generated:
			c.fault(at, "column %s of table %s is generated from others; remove it", shown(n.Name), t.To)
		default:
			given[n.Name] = true
			c.casts(at, t, src, n.Column.From, column)
		}
	}
	if len(t.Columns) == 0 {
		for i := range model.columns {
			if column := &model.columns[i]; given[column.name] {
				c.casts(path, t, src, column.name, column)
			}
		}
	}
	if len(t.Columns) == 0 && src != nil && !slices.ContainsFunc(names, func(n string) bool { return given[n] }) {
		c.fault(path, "table %s of the tenants and %s of the source have no column in common; write columns", t.To, t.From)
		return
	}
	if src == nil {
		return
	}
	for _, column := range model.columns {
		if column.notNull && !column.hasDefault && !column.generated && !given[column.name] {
			c.fault(below(path, "columns"), "column %s of table %s must not be NULL, and nothing is loaded into it; give it a source column, sql, value or lookup", shown(column.name), t.To)
		}
	}
	if t.Mode != ModeUpsert {
		return
	}
	if len(model.primaryKey) == 0 {
		c.fault(below(path, "mode"), "mode: upsert needs a primary key, and table %s has none; use insert or replace", t.To)
	}
	for _, name := range model.primaryKey {
		if !given[name] {
			c.fault(below(path, "mode"), "mode: upsert needs the whole primary key of table %s, and nothing is loaded into %s", t.To, shown(name))
		}
	}
}

// casts reports a column of a database whose values no column of the target's type takes.
func (c *checker) casts(path []string, t *Table, src *sourceTable, from string, to *targetColumn) {
	store := c.m.realStore(t.Source)
	if src == nil || src.column(from) == nil || store != storePostgres && store != storeMySQL {
		return
	}
	if why := convert(store, src.column(from), to).refused; why != "" {
		c.fault(path, "%s.%s: %s", t.From, from, why)
	}
}

// documents checks what a table's documents are made of.
func (c *checker) documents(path []string, t *Table, src *sourceTable, sampled bool) {
	if t.ID != nil {
		c.origin(below(path, "id"), t, src, t.ID, sampled)
	}
	if src == nil {
		return
	}
	if t.Document != "" && !sampled {
		c.sourceColumn(below(path, "document"), src, t.Document)
	}
	if t.Mode == ModeUpsert && !sampled && t.ID == nil && t.Columns.Get("_id") == nil && len(src.primaryKey) != 1 {
		c.fault(below(path, "mode"), "mode: upsert needs id, since %s has no primary key of one column", t.From)
	}
	for _, name := range slices.Sorted(maps.Keys(t.Embed)) {
		e := t.Embed[name]
		at := below(below(path, "embed"), name)
		child := c.source(below(at, "from"), t.Source, e.From)
		for _, theirs := range slices.Sorted(maps.Keys(e.Match)) {
			c.sourceField(below(below(at, "match"), theirs), t, child, theirs)
			c.sourceField(below(below(at, "match"), theirs), t, src, e.Match[theirs])
		}
		for _, column := range e.OrderBy {
			c.sourceField(below(at, "order_by"), t, child, column)
		}
		for _, n := range e.Columns {
			if n.Column.From != "" && !sampled {
				c.sourceColumn(below(below(at, "columns"), n.Name), child, n.Column.From)
			}
		}
	}
}

// newFaults is the error for what check found.
func newFaults(lines []string) error {
	f := &Faults{}
	for _, line := range lines {
		f.Faults = append(f.Faults, Fault{Problem: line})
	}
	return f
}
