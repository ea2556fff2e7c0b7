// Package legacy moves the rows of shared-table databases into tenants: a mapping says which row becomes whose, a load
// streams them, and a verification proves that none was lost, doubled or given to the wrong tenant.
package legacy

import (
	"fmt"
	"slices"

	"go.yaml.in/yaml/v3"
)

// Mapping is a mapping file. mapping.schema.json tells what each field means.
type Mapping struct {
	Version      int                    `yaml:"version"`
	Name         string                 `yaml:"name"`
	Sources      map[string]*SourceSpec `yaml:"sources"`
	Tenants      TenantList             `yaml:"tenants"`
	SharedSchema string                 `yaml:"shared_schema,omitempty"`
	MaxRowBytes  int64                  `yaml:"max_row_bytes,omitempty"`
	Tables       []*Table               `yaml:"tables"`

	file string     // for messages; paths in the mapping are relative to its folder
	root *yaml.Node // of the file, for the places of faults; nil for a mapping made by hand
}

// SourceSpec says where rows come from: one of URL, URLEnv, URLFile and Path is set.
type SourceSpec struct {
	URL            string  `yaml:"url,omitempty"`
	URLEnv         string  `yaml:"url_env,omitempty"`
	URLFile        string  `yaml:"url_file,omitempty"`
	Path           string  `yaml:"path,omitempty"`
	Delimiter      string  `yaml:"delimiter,omitempty"`
	Null           *string `yaml:"null,omitempty"`
	MaxConnections int     `yaml:"max_connections,omitempty"`
	UUID           string  `yaml:"uuid,omitempty" json:",omitempty"` // order of the bytes of legacy UUIDs
	Schema         string  `yaml:"schema,omitempty"`
	DateFormat     string  `yaml:"date_format,omitempty"`   // of dates that the source has as text; ISO order where empty
	NumberFormat   string  `yaml:"number_format,omitempty"` // of numbers that the source has as text: 1234.56 where empty
}

// TenantList says which tenants there are, and by which key rows refer to them.
type TenantList struct {
	Source   string            `yaml:"source,omitempty"`
	From     string            `yaml:"from,omitempty"`
	Query    string            `yaml:"query,omitempty"`
	Where    string            `yaml:"where,omitempty"`
	Distinct bool              `yaml:"distinct,omitempty"`
	Key      string            `yaml:"key"`
	Name     string            `yaml:"name,omitempty"`
	Domains  []string          `yaml:"domains,omitempty"`
	Labels   map[string]string `yaml:"labels,omitempty"`
	Create   *bool             `yaml:"create,omitempty"`
}

// Creates tells whether missing tenants are made.
func (l *TenantList) Creates() bool { return l.Create == nil || *l.Create }

// What is done with a table that belongs to no tenant.
const (
	SharedCopy   = "copy"   // into every tenant
	SharedSkip   = "skip"   // not at all
	SharedSchema = "schema" // once, into the mapping's shared schema
	SharedChoose = "choose" // as plan writes it: nobody has decided yet
)

// How rows meet those that are there.
const (
	ModeInsert  = "insert"
	ModeUpsert  = "upsert"
	ModeReplace = "replace"
)

// What a row that does not fit does.
const (
	OnErrorReject = "reject" // is set aside
	OnErrorFail   = "fail"   // ends the import
)

// Whether the target's own triggers fire during the load.
const (
	TriggersFire = "fire"
	TriggersSkip = "skip"
)

// Table says where one table's rows go.
type Table struct {
	As           string            `yaml:"name,omitempty" json:",omitempty"` // where another entry has the same target
	Source       string            `yaml:"source,omitempty"`
	From         string            `yaml:"from,omitempty"`
	Query        string            `yaml:"query,omitempty" json:",omitempty"`
	PrimaryKey   Names             `yaml:"primary_key,omitempty,flow" json:",omitempty"` // of the query
	Where        string            `yaml:"where,omitempty"`
	Key          string            `yaml:"key,omitempty"`
	Via          []Hop             `yaml:"via,omitempty"`
	Shared       string            `yaml:"shared,omitempty"`
	To           string            `yaml:"to,omitempty"`
	ToCollection string            `yaml:"to_collection,omitempty"`
	Columns      Columns           `yaml:"columns,omitempty"`
	ID           *Column           `yaml:"id,omitempty"`
	Document     string            `yaml:"document,omitempty"`
	Embed        map[string]*Embed `yaml:"embed,omitempty"`
	ExtendedJSON bool              `yaml:"extended_json,omitempty" json:",omitempty"` // in JSON columns
	Mode         string            `yaml:"mode,omitempty"`
	OnError      string            `yaml:"on_error,omitempty"`
	Since        string            `yaml:"since,omitempty"`
	Triggers     string            `yaml:"triggers,omitempty"`
}

// Name is how messages, checkpoints and --table call the table: by its target, unless another entry has the same.
func (t *Table) Name() string {
	switch {
	case t.As != "":
		return t.As
	case t.ToCollection != "":
		return "mongodb/" + t.ToCollection
	case t.To != "":
		return t.To
	}
	return t.From
}

// Hop is one step through a foreign key towards the table with the key.
type Hop struct {
	Columns    Names  `yaml:"columns,flow"`
	Table      string `yaml:"table"`
	References Names  `yaml:"references,flow"`
	Many       bool   `yaml:"many,omitempty" json:",omitempty"` // rows there refer to this one, not the other way round
}

// Names is one name or several.
type Names []string

// UnmarshalYAML reads a scalar or a sequence.
func (n *Names) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		*n = Names{node.Value}
		return nil
	}
	return node.Decode((*[]string)(n))
}

// MarshalYAML writes one name as a scalar.
func (n Names) MarshalYAML() (any, error) {
	if len(n) == 1 {
		return n[0], nil
	}
	return []string(n), nil
}

// Columns are target columns and where each comes from, in the file's order.
type Columns []NamedColumn

// NamedColumn is a target column.
type NamedColumn struct {
	Name   string
	Column Column
}

// Get is the column of that name, or nil.
func (c Columns) Get(name string) *Column {
	if i := slices.IndexFunc(c, func(n NamedColumn) bool { return n.Name == name }); i >= 0 {
		return &c[i].Column
	}
	return nil
}

// UnmarshalYAML keeps the order of the file.
func (c *Columns) UnmarshalYAML(node *yaml.Node) error {
	for i := 0; i+1 < len(node.Content); i += 2 {
		var n NamedColumn
		n.Name = node.Content[i].Value
		if node.Content[i+1].Tag == "!!null" {
			n.Column.Default = true
		} else if err := node.Content[i+1].Decode(&n.Column); err != nil {
			return err
		}
		*c = append(*c, n)
	}
	return nil
}

// MarshalYAML writes a mapping in the same order.
func (c Columns) MarshalYAML() (any, error) {
	node := &yaml.Node{Kind: yaml.MappingNode}
	for _, n := range c {
		key, value := &yaml.Node{}, &yaml.Node{}
		key.SetString(n.Name)
		if err := value.Encode(n.Column); err != nil {
			return nil, err
		}
		node.Content = append(node.Content, key, value)
	}
	return node, nil
}

// Column says where a column's value comes from: one field is set, and with from also a format may be.
type Column struct {
	From    string  `yaml:"from,omitempty"`
	SQL     string  `yaml:"sql,omitempty"`
	Value   *string `yaml:"value,omitempty"`
	Lookup  *Lookup `yaml:"lookup,omitempty"`
	Default bool    `yaml:"-"` // null in the file: the target's own default

	DateFormat   string `yaml:"date_format,omitempty" json:",omitempty"`   // of a date that the source has as text
	NumberFormat string `yaml:"number_format,omitempty" json:",omitempty"` // of a number that the source has as text
}

// Lookup takes a value from another table of the source.
type Lookup struct {
	Table string            `yaml:"table"`
	Match map[string]string `yaml:"match"`
	Take  string            `yaml:"take"`
}

// UnmarshalYAML reads a bare name as the source column.
func (c *Column) UnmarshalYAML(node *yaml.Node) error {
	if node.Kind == yaml.ScalarNode {
		c.From = node.Value
		return nil
	}
	type plain Column
	return node.Decode((*plain)(c))
}

// MarshalYAML writes a source column as a bare name.
func (c Column) MarshalYAML() (any, error) {
	switch {
	case c.Default:
		return nil, nil
	case c.From != "" && c.DateFormat+c.NumberFormat == "":
		return c.From, nil
	}
	type plain Column
	return plain(c), nil
}

// String tells the column's origin for messages.
func (c *Column) String() string {
	switch {
	case c.Default:
		return "the default"
	case c.SQL != "":
		return "sql " + c.SQL
	case c.Value != nil:
		return fmt.Sprintf("the value %q", *c.Value)
	case c.Lookup != nil:
		return "a lookup in " + c.Lookup.Table
	}
	return c.From
}

// Embed is a table whose rows become an array in their parent's document.
type Embed struct {
	From    string            `yaml:"from"`
	Match   map[string]string `yaml:"match"`
	Columns Columns           `yaml:"columns,omitempty"`
	OrderBy Names             `yaml:"order_by,omitempty"`
}
