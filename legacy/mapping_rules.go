package legacy

import (
	"errors"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/tenantctl/tenantctl/tenant"
)

const maxIdentifier = 63 // bytes, PostgreSQL's NAMEDATALEN-1

var schemaShape = regexp.MustCompile(`^[a-z_][a-z0-9_]*$`)

// rules reports what the JSON Schema cannot say. m is as much of the file as could be read.
func (r *reader) rules(m *Mapping) {
	for _, name := range slices.Sorted(maps.Keys(m.Sources)) {
		if m.Sources[name] != nil {
			r.sourceRules([]string{"sources", name}, m.Sources[name])
		}
	}
	r.sourceName(m, []string{"tenants"}, m.Tenants.Source)
	r.tenantRules(&m.Tenants)
	r.sharedSchemaRules(m.SharedSchema)
	targets := map[string]int{}
	for i, t := range m.Tables {
		if t == nil {
			continue
		}
		path := []string{"tables", strconv.Itoa(i)}
		r.sourceName(m, path, t.Source)
		r.tableRules(m, path, t)
		r.targetRules(m, path, t)
		if t.Shared == SharedSkip || t.From == "" {
			continue
		}
		target := *t
		if t.To == "" && t.ToCollection == "" {
			target.To = m.baseName(t)
		}
		if first, again := targets[target.Name()]; again {
			advice := "give this entry a name of its own with name"
			if t.ToCollection != "" {
				advice = "each collection is loaded from one entry"
			}
			r.fault(below(path, "to"), "%s has the target %s, as the table on line %d has; %s", shown(t.From), shown(target.Name()), first, advice)
		} else {
			_, n := walkNodes(r.root, path)
			targets[target.Name()] = n.Line
		}
	}
	for _, f := range m.unsuited(m.knownStore) {
		r.fault(f.path, "%s", f.Problem)
	}
}

// has tells whether a key is in the file, under a misspelled name too.
func (r *reader) has(path ...string) bool {
	return nodeAt(r.root, path) != nil || slices.ContainsFunc(r.meant, func(m []string) bool { return slices.Equal(m, path) })
}

func (r *reader) sourceRules(path []string, s *SourceSpec) {
	if s.URL != "" && storeOfURL(s.URL) == "" {
		r.fault(below(path, "url"), "url: does not begin with postgres://, mysql:// or mongodb://")
	}
	for _, key := range []string{"delimiter", "null"} {
		if s.Path == "" && r.has(below(path, key)...) {
			r.fault(below(path, key), "%s: is for CSV files, and this source has no path", key)
		}
	}
	if len(s.Delimiter) > 1 || strings.ContainsAny(s.Delimiter, "\"\r\n\x00") {
		r.fault(below(path, "delimiter"), "delimiter: is not a plain character that can separate fields; use , ; | or a tab")
	}
	if store := storeOfURL(s.URL); s.Schema != "" && (s.Path != "" || store == storeMySQL || store == storeMongoDB) {
		r.fault(below(path, "schema"), "schema: PostgreSQL alone has schemas; name the database in the URL")
	}
	r.identifier(below(path, "schema"), s.Schema)
	if store := storeOfURL(s.URL); s.UUID != "" && store != "" && store != storeMongoDB {
		r.fault(below(path, "uuid"), "uuid: is for what MongoDB has or exported, and this source is another")
	}
}

// identifier checks what PostgreSQL takes as a name.
func (r *reader) identifier(path []string, name string) {
	switch {
	case len(name) > maxIdentifier:
		r.fault(path, "%sis longer than the %d bytes that PostgreSQL allows", nameOf(path), maxIdentifier)
	case strings.Contains(name, "\x00"):
		r.fault(path, "%sholds a zero byte", nameOf(path))
	}
}

func (r *reader) sourceName(m *Mapping, path []string, name string) {
	known := slices.Sorted(maps.Keys(m.Sources))
	var listed []string
	for _, k := range known {
		listed = append(listed, bare(k))
	}
	switch {
	case name == "" && len(known) > 1:
		r.fault(below(path, "source"), "source is missing: there are %s", strings.Join(listed, ", "))
	case name != "" && len(known) > 0 && !slices.Contains(known, name):
		advice := didYouMean(name, known)
		if advice == "" {
			advice = "; there is " + strings.Join(listed, ", ")
		}
		r.fault(below(path, "source"), "source: %s is not one of the sources%s", shown(name), advice)
	}
}

func (r *reader) tenantRules(l *TenantList) {
	path := []string{"tenants"}
	if l.Query != "" && l.Where != "" {
		r.fault(below(path, "where"), "where: is for from; write the condition into query")
	}
	if l.Query != "" && l.Distinct {
		r.fault(below(path, "distinct"), "distinct: is for from; write DISTINCT into query")
	}
	for label := range l.Labels {
		var e *tenant.Error
		if errors.As(tenant.CheckLabel(label, ""), &e) {
			r.keyFault(below(below(path, "labels"), label), "labels: %s is no key of a label; %s", shown(label), e.Hint)
		}
	}
}

func (r *reader) sharedSchemaRules(name string) {
	path := []string{"shared_schema"}
	switch {
	case name == "":
	case len(name) > maxIdentifier:
		r.identifier(path, name)
	case !schemaShape.MatchString(name):
		r.fault(path, "shared_schema: %s is not made of a-z, 0-9 and _, beginning with a letter", shown(name))
	case name == "tenantctl", name == "public", name == "information_schema", strings.HasPrefix(name, "pg_"):
		r.fault(path, "shared_schema: %s is in use for something else; choose another name", shown(name))
	}
}

// tableRules are about whose a table's rows are, and how they are taken.
func (r *reader) tableRules(m *Mapping, path []string, t *Table) {
	hasKey, hasVia, hasShared := r.has(below(path, "key")...), r.has(below(path, "via")...), r.has(below(path, "shared")...)
	switch {
	case hasKey && hasShared:
		r.fault(below(path, "shared"), "%s has key and shared; keep key if its rows belong to tenants, shared if not", shown(t.From))
	case hasVia && hasShared:
		r.fault(below(path, "shared"), "%s has via and shared; keep via, with key, if its rows belong to tenants", shown(t.From))
	case hasVia && !hasKey:
		r.fault(below(path, "via"), "via needs key, the column with the tenant's key in its last table")
	case !hasKey && !hasShared && t.From != "":
		r.fault(below(path, "key"), "%s needs key, the column with the tenant's key, or shared", shown(t.From))
	case t.Shared == SharedChoose:
		r.fault(below(path, "shared"), "shared: choose copy, skip or schema for %s", shown(t.From))
	case t.Shared == SharedSchema && !r.has("shared_schema"):
		r.fault(below(path, "shared"), "shared: schema needs shared_schema at the top of the mapping, the name of that schema")
	}
	switch {
	case t.Query == "" && len(t.PrimaryKey) > 0:
		r.fault(below(path, "primary_key"), "primary_key: is for query; a table has its own")
	case t.Query != "" && len(t.PrimaryKey) == 0:
		r.fault(below(path, "primary_key"), "query needs primary_key, the columns that no two of its rows share")
	case t.Query != "" && t.To == "" && t.ToCollection == "":
		r.fault(below(path, "to"), "query needs to or to_collection, where its rows go")
	}
	if t.As != "" && t.ToCollection != "" {
		r.fault(below(path, "name"), "name: is for tables; each collection is loaded from one entry")
	}
	for i, hop := range t.Via {
		if len(hop.Columns) != len(hop.References) && len(hop.Columns) > 0 && len(hop.References) > 0 {
			r.fault(below(below(below(path, "via"), strconv.Itoa(i)), "references"), "via[%d]: has %s and %s; each column refers to one",
				i, tenant.Plural(len(hop.Columns), "column"), tenant.Plural(len(hop.References), "reference"))
		}
	}
}

// targetRules are about where a table's rows go.
func (r *reader) targetRules(m *Mapping, path []string, t *Table) {
	if t.To != "" && t.ToCollection != "" {
		r.fault(below(path, "to_collection"), "to and to_collection are both here; give the rows that go to both a table entry each")
	}
	r.identifier(below(path, "to"), t.To)
	if t.To == "goose_db_version" || t.ToCollection == "schema_migrations" || t.ToCollection == "tenantctl" {
		r.fault(below(path, "to"), "%s is where tenantctl keeps versions; choose another target", shown(t.Name()))
	}
	if t.ToCollection == "" {
		for _, key := range []string{"document", "embed", "extended_json", "id"} {
			if r.has(below(path, key)...) {
				r.fault(below(path, key), "%s: is for documents, and this table has no to_collection", key)
			}
		}
		return
	}
	if strings.ContainsAny(t.ToCollection, "$\x00") || strings.HasPrefix(t.ToCollection, "system.") {
		r.fault(below(path, "to_collection"), "to_collection: %s is no name for a collection", shown(t.ToCollection))
	}
	if t.Shared == SharedSchema {
		r.fault(below(path, "shared"), "shared: a schema holds tables, no collections; choose copy or skip")
	}
	if t.Triggers != "" {
		r.fault(below(path, "triggers"), "triggers: collections have none; remove it")
	}
	if t.Document != "" && len(t.Columns) > 0 {
		r.fault(below(path, "columns"), "columns and document are both here; the document is either made of columns or is one column")
	}
	for name := range t.Embed {
		if t.Columns.Get(name) != nil {
			r.keyFault(below(below(path, "embed"), name), "embed: %s is one of columns already; choose another name", shown(name))
		}
	}
}

// unsuited finds what a source cannot do: files and MongoDB know no SQL. store tells the kind of a source by its name.
func (m *Mapping) unsuited(store func(string) string) []placed {
	var faults []placed
	report := func(source, kind string, path []string) {
		what := "a MongoDB source"
		if kind == storeFiles {
			what = "a source of files"
		}
		if source != "" {
			what += " (" + bare(source) + ")"
		}
		faults = append(faults, placed{Fault{Problem: nameOf(path) + what + " cannot do this; it is for PostgreSQL and MySQL"}, path})
	}
	kindOf := func(source string) (string, bool) {
		if source == "" && len(m.Sources) == 1 {
			for source = range m.Sources {
			}
		}
		kind := store(source)
		return kind, kind == storeFiles || kind == storeMongoDB
	}
	if kind, plain := kindOf(m.Tenants.Source); plain {
		for key, set := range map[string]bool{"query": m.Tenants.Query != "", "where": m.Tenants.Where != ""} {
			if set {
				report(m.Tenants.Source, kind, []string{"tenants", key})
			}
		}
	}
	for i, t := range m.Tables {
		if t == nil {
			continue
		}
		kind, plain := kindOf(t.Source)
		if !plain {
			continue
		}
		path := []string{"tables", strconv.Itoa(i)}
		for key, set := range map[string]bool{"query": t.Query != "", "where": t.Where != "", "via": len(t.Via) > 0, "embed": len(t.Embed) > 0} {
			if set && (kind == storeFiles || key == "query") {
				report(t.Source, kind, below(path, key))
			}
		}
		for n, hop := range t.Via {
			if hop.Many && kind == storeMongoDB {
				report(t.Source, kind, below(below(below(path, "via"), strconv.Itoa(n)), "many"))
			}
		}
		check := func(path []string, c *Column) {
			if c.SQL != "" {
				report(t.Source, kind, below(path, "sql"))
			}
			if c.Lookup != nil {
				report(t.Source, kind, below(path, "lookup"))
			}
		}
		for _, n := range t.Columns {
			check(below(below(path, "columns"), n.Name), &n.Column)
		}
		if t.ID != nil {
			check(below(path, "id"), t.ID)
		}
	}
	return faults
}
