package legacy

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"

	"go.yaml.in/yaml/v3"
)

// write makes the file, table by table in the order in which they load.
func (p *planner) write() {
	root := &yaml.Node{Kind: yaml.MappingNode}
	addPair(root, "version", &yaml.Node{Kind: yaml.ScalarNode, Value: "1"})
	addPair(root, "name", textNode(p.Name))
	sources := &yaml.Node{Kind: yaml.MappingNode}
	spec := &yaml.Node{}
	written := *p.SourceSpec
	if written.URL != "" { // with a password in it perhaps
		written.URL, written.URLEnv = "", URLEnv
	}
	if err := spec.Encode(&written); err != nil || spec.Kind != yaml.MappingNode {
		spec = &yaml.Node{Kind: yaml.MappingNode}
	}
	addPair(sources, p.SourceName, spec)
	addPair(root, "sources", sources)
	addPair(root, "tenants", p.tenantList())
	tables := &yaml.Node{Kind: yaml.SequenceNode}
	for _, t := range p.inLoadOrder() {
		switch keys, ways := p.keys[t.name], p.ways[t.name]; {
		case t == p.tenants && p.missing(t):
			p.note("%s is the list of tenants, and the tenants have no table for it: its rows are loaded nowhere", t.name)
		case len(keys) > 0:
			p.Keyed++
			tables.Content = append(tables.Content, p.table(t, func(entry *yaml.Node) { p.writeKey(entry, t) }))
		case len(p.down[t.name]) > 0 && len(private(t)) > 0:
			p.Via++
			tables.Content = append(tables.Content, p.table(t, func(entry *yaml.Node) { p.writeDown(entry, t, p.down[t.name]) }))
		case len(ways) > 0:
			p.Via++
			tables.Content = append(tables.Content, p.table(t, func(entry *yaml.Node) { p.writeVia(entry, t, ways) }))
		default:
			p.Shared++
			tables.Content = append(tables.Content, p.table(t, func(entry *yaml.Node) { p.writeShared(entry, t) }))
		}
	}
	if p.Shared > 0 {
		root.Content[len(root.Content)-2].FootComment = "# The schema of tables with shared: schema.\n# shared_schema: common"
	}
	addPair(root, "tables", tables)
	var out bytes.Buffer
	out.WriteString("# yaml-language-server: $schema=" + schemaID() + "\n")
	for _, line := range p.order() {
		out.WriteString("# " + inComment(line) + "\n")
	}
	out.WriteByte('\n')
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(root); err != nil {
		panic(err) // the nodes hold texts alone
	}
	p.YAML = out.Bytes()
}

// inLoadOrder gives the tenants' tables, those that reach them and the shared ones, each in the order of their targets.
func (p *planner) inLoadOrder() []*sourceTable {
	level := map[string]int{}
	levels, _ := p.tgt.loadOrder(p.loaded())
	for i, names := range levels {
		for _, name := range names {
			level[name] = i
		}
	}
	rank := func(t *sourceTable) int {
		switch {
		case t == p.tenants:
			return 0
		case len(p.keys[t.name]) > 0:
			return 1
		case len(p.ways[t.name]) > 0:
			return 2
		}
		return 3
	}
	return slices.SortedStableFunc(slices.Values(p.src), func(a, b *sourceTable) int {
		return cmp.Or(cmp.Compare(rank(a), rank(b)), cmp.Compare(level[p.targets[a.name]], level[p.targets[b.name]]))
	})
}

// loaded are the tenants' tables that the mapping has.
func (p *planner) loaded() []string {
	var names []string
	for _, t := range p.src {
		if target := p.targets[t.name]; p.tgt[target] != nil {
			names = append(names, target)
		}
	}
	slices.Sort(names)
	return names
}

// order says in which order tables load, and which refer to each other or to themselves.
func (p *planner) order() []string {
	names := p.loaded()
	if len(names) == 0 {
		return nil
	}
	lines := []string{"Load order, by the foreign keys of the tenants' tables:"}
	levels, cycles := p.tgt.loadOrder(names)
	for i, level := range levels {
		lines = append(lines, fmt.Sprintf("  %d. %s", i+1, strings.Join(level, ", ")))
	}
	for _, cycle := range cycles {
		line := strings.Join(cycle, ", ") + " refer to each other in a circle"
		p.note("%s", line)
		lines = append(lines, line+".")
	}
	for _, name := range names {
		if p.tgt[name].selfReferences() {
			line := name + " refers to itself"
			if p.tenants != nil && p.targets[p.tenants.name] == name {
				line = p.selfReferring(p.tgt[name])
			}
			lines = append(lines, line+".")
			p.note("%s", line)
		}
	}
	return lines
}

func (p *planner) tenantList() *yaml.Node {
	list := &yaml.Node{Kind: yaml.MappingNode}
	var keyed []*sourceTable
	for _, t := range p.src {
		if len(p.keys[t.name]) > 0 {
			keyed = append(keyed, t)
		}
	}
	var key *sourceColumn
	switch {
	case p.tenants != nil:
		addPair(list, "from", textNode(p.tenants.name))
		key = p.tenants.column(p.key)
	case len(keyed) == 0:
		p.note("no table of the source has the tenant's key: write tenants and the tables' keys by hand")
		addPair(list, "from", textNode(cmp.Or(p.TenantsTable, "tenants")))
	case len(keyed) > 1 && (p.store == storePostgres || p.store == storeMySQL):
		// A key that is in one table alone belongs to a tenant too.
		addPair(list, "query", textNode(p.distinctKeys(keyed)))
		key = keyed[0].column(p.Key)
	default:
		addPair(list, "from", textNode(keyed[0].name))
		addPair(list, "distinct", &yaml.Node{Kind: yaml.ScalarNode, Value: "true"})
		if key = keyed[0].column(p.Key); len(keyed) > 1 {
			p.note("the list of tenants is that of the keys in %s: rows of other tables with further keys are rejected", keyed[0].name)
		}
	}
	name := cmp.Or(p.Key, "id")
	if key != nil {
		name = key.name
	}
	addPair(list, "key", textNode(name))
	if label := p.label(key); label != "" {
		addPair(list, "name", textNode(label)).HeadComment = "# A DNS label of at most 40 characters, another one for each tenant."
	} else {
		list.Content[len(list.Content)-2].HeadComment = "# Also the tenant's name, a DNS label of at most 40 characters; if it is none, add name with a field that is."
	}
	return list
}

func (p *planner) distinctKeys(keyed []*sourceTable) string {
	quote := `"`
	if p.store == storeMySQL {
		quote = "`"
	}
	parts := make([]string, len(keyed))
	for i, t := range keyed {
		column := quoteIdent(quote, p.Key)
		parts[i] = fmt.Sprintf("SELECT %s FROM %s WHERE %s IS NOT NULL", column, quoteIdent(quote, t.name), column)
	}
	return strings.Join(parts, " UNION ")
}

// table writes what all tables have; whose says whose rows they are.
func (p *planner) table(t *sourceTable, whose func(*yaml.Node)) *yaml.Node {
	entry := &yaml.Node{Kind: yaml.MappingNode}
	addPair(entry, "from", textNode(t.name))
	whose(entry)
	name := p.targets[t.name]
	m := &Mapping{Sources: map[string]*SourceSpec{"": p.SourceSpec}}
	model := p.tgt[name]
	switch {
	case p.toCollection(t):
		p.Collections++
		addPair(entry, "to_collection", textNode(name))
	case name != m.baseName(&Table{From: t.name}):
		addPair(entry, "to", textNode(name))
	}
	switch {
	case model != nil:
		p.writeColumns(entry, t, model)
	case p.missing(t):
		line := "the tenants have no table " + name + ": add it to the migrations first, or remove this entry"
		if len(p.keys[t.name]) == 0 && len(p.ways[t.name]) == 0 {
			line = "the tenants have no table " + name + ": add it to the migrations first, or choose skip"
		}
		addComment(entry, line)
		p.note("%s", line)
	}
	return entry
}

func (p *planner) writeKey(entry *yaml.Node, t *sourceTable) {
	keys := p.keys[t.name]
	k := addPair(entry, "key", textNode(keys[0]))
	if len(keys) > 1 {
		addComment(k, "there are others: "+strings.Join(keys[1:], ", "))
	}
	p.mayBeNull(k, t, keys[0])
	if line := p.compareKeys(t, keys[0]); line != "" {
		addComment(k, line)
		p.note("%s.%s: %s", t.name, keys[0], line)
	}
}

// mayBeNull says that rows belong to nobody where a column is NULL.
func (p *planner) mayBeNull(at *yaml.Node, t *sourceTable, names ...string) {
	for _, name := range names {
		if c := t.column(name); c != nil && !c.notNull && !p.sampled() {
			addComment(at, name+" may be NULL: such rows have no tenant and are rejected")
		}
	}
}

func (p *planner) writeVia(entry *yaml.Node, t *sourceTable, ways []way) {
	k := addPair(entry, "via", hopsNode(ways[0]))
	addPair(entry, "key", textNode(ways[0].key))
	p.mayBeNull(k, t, ways[0].hops[0].columns...)
	if len(ways) == 1 {
		return
	}
	addComment(k, "there are other ways; if they do not lead to the same tenants, choose:")
	for _, w := range ways[1:] {
		addComment(k, "  "+inlineWay(w))
	}
}

func hopsNode(w way) *yaml.Node {
	list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for n, f := range w.hops {
		hop := &yaml.Node{Kind: yaml.MappingNode, Style: yaml.FlowStyle}
		addPair(hop, "columns", namesNode(f.columns))
		addPair(hop, "table", textNode(f.table))
		addPair(hop, "references", namesNode(f.references))
		if w.down && n == 0 {
			addPair(hop, "many", &yaml.Node{Kind: yaml.ScalarNode, Value: "true"})
		}
		list.Content = append(list.Content, hop)
	}
	return list
}

func namesNode(n []string) *yaml.Node {
	if len(n) == 1 {
		return textNode(n[0])
	}
	list := &yaml.Node{Kind: yaml.SequenceNode, Style: yaml.FlowStyle}
	for _, name := range n {
		list.Content = append(list.Content, textNode(name))
	}
	return list
}

func (p *planner) writeShared(entry *yaml.Node, t *sourceTable) {
	line := "belongs to no tenant"
	if by := p.referrers(t.name); len(by) > 0 {
		line += "; referred to by " + strings.Join(by, ", ")
	}
	k := addPair(entry, "shared", textNode(SharedChoose))
	addComment(k, line)
	p.mayCopy(k, t)
	if p.Shared == 1 {
		addComment(entry, "Shared tables. For each, write in place of choose:", "  copy    its rows go into every tenant", "  skip    it is loaded nowhere")
		if !p.toCollection(t) {
			addComment(entry, "  schema  its rows go once into the schema that shared_schema names")
		}
	}
}

// writeColumns writes a column for each that the model has, and says which it has not.
func (p *planner) writeColumns(entry *yaml.Node, t *sourceTable, model *targetTable) {
	columns := &yaml.Node{Kind: yaml.MappingNode}
	matched := matchColumns(t, model)
	given := map[string]bool{}
	var before []string // lines about columns that are left out
	var unknown []string
	problem := func(line string) {
		before = append(before, line)
		p.note("%s.%s", t.name, line)
	}
	for i := range t.columns {
		c := &t.columns[i]
		to := matched[c.name]
		if p.sampled() {
			// What a sample looks like is no promise, and no lack of one.
			known := *c
			known.notNull = true
			c = &known
		}
		switch {
		case c.name == "":
		case to != nil && given[to.name]:
			problem(c.name + ": the source has it twice; the first is taken")
		case to == nil && slices.Contains(p.keys[t.name], c.name) && c.name == p.keys[t.name][0]:
			// The schema says whose row it is.
		case to == nil:
			before = append(before, fmt.Sprintf("%s (%s): no such column in the target; left out", c.name, typeName(c)))
			unknown = append(unknown, c.name)
		case to.generated:
			problem(fmt.Sprintf("%s: generated in the target; left out", c.name))
		default:
			given[to.name] = true
			value := textNode(c.name)
			why := misfit(p.store, c, to)
			if to.sequence && !to.counts() {
				why = strings.TrimPrefix(why+"; "+unsetSequence, "; ")
			}
			if why != "" {
				value.LineComment = "# " + inComment(why)
				p.note("%s.%s: %s", t.name, c.name, why)
			}
			k := addPair(columns, to.name, value)
			addComment(k, before...)
			before = nil
		}
	}
	if len(unknown) > 0 {
		p.note("%s: left out, without a column in the target: %s", t.name, strings.Join(unknown, ", "))
	}
	for _, c := range model.columns {
		if c.notNull && !c.hasDefault && !c.generated && !given[c.name] {
			problem(fmt.Sprintf("%s (%s): must not be NULL in the target, and has no source; write one, such as {value: ...} or {sql: ...}", c.name, c.typ))
		}
	}
	if len(columns.Content) == 0 {
		addComment(entry, append(before, "no column is in both the source and the target; write columns")...)
		p.note("%s: no column is in both the source and the target", t.name)
		return
	}
	if len(before) > 0 {
		columns.Content[len(columns.Content)-2].FootComment = "# " + strings.Join(mapped(before, inComment), "\n# ")
	}
	addPair(entry, "columns", columns)
}

func mapped(lines []string, change func(string) string) []string {
	out := make([]string, len(lines))
	for i, line := range lines {
		out[i] = change(line)
	}
	return out
}

// addPair appends a key and its value, and gives back the key.
func addPair(n *yaml.Node, key string, value *yaml.Node) *yaml.Node {
	k := textNode(key)
	n.Content = append(n.Content, k, value)
	return k
}

// textNode is a scalar that is read back as the same text.
func textNode(s string) *yaml.Node {
	n := &yaml.Node{}
	n.SetString(strings.ToValidUTF8(s, "?"))
	n.Style = 0
	if strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) }) {
		n.Style = yaml.DoubleQuotedStyle
	}
	return n
}

// addComment adds lines above a key.
func addComment(key *yaml.Node, lines ...string) {
	for _, line := range lines {
		if key.HeadComment != "" {
			key.HeadComment += "\n"
		}
		key.HeadComment += "# " + inComment(line)
	}
}

// inComment is a text without what would end a comment's line.
func inComment(s string) string {
	return strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return '?'
		}
		return r
	}, strings.ToValidUTF8(s, "?"))
}
