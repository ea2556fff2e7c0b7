package lint

import (
	"encoding/json"
	"errors"
	"strings"

	"github.com/wasilibs/go-pgquery/parser"
)

// parse lets PostgreSQL's own parser read SQL: version 17's, which runs as WebAssembly. The first call takes a second
// or two, in which that is compiled. Its answer is taken as JSON: the messages for it would need cgo.
func parse(sql string) ([]parsed, error) {
	if strings.IndexByte(sql, 0) >= 0 {
		return nil, &SyntaxError{Line: 1, Msg: "a NUL character"}
	}
	tree, err := parser.ParseToJSON(sql)
	if err != nil {
		e := &SyntaxError{Line: 1, Msg: err.Error()}
		var at *parser.Error
		if errors.As(err, &at) {
			e.Line = lineAt(sql, bytesOf(sql, at.Cursorpos-1))
		}
		return nil, e
	}
	var all struct {
		Stmts []struct{ Stmt json.RawMessage }
	}
	if err := json.Unmarshal([]byte(tree), &all); err != nil {
		return nil, unread(err)
	}
	var out []parsed
	for _, s := range all.Stmts {
		n := parsed{raw: s.Stmt}
		if err := json.Unmarshal(s.Stmt, &n.statement); err != nil {
			return nil, unread(err)
		}
		out = append(out, n)
	}
	return out, nil
}

// unread is a tree that is deeper than JSON is read.
func unread(err error) error { return &SyntaxError{Line: 1, Msg: "cannot be read: " + err.Error()} }

type parsed struct {
	raw       json.RawMessage
	statement statement
}

// bytesOf is how many bytes the first runes of s have.
func bytesOf(s string, runes int) int {
	for i := range s {
		if runes <= 0 {
			return i
		}
		runes--
	}
	return len(s)
}

// lineAt is the line of a place, in bytes.
func lineAt(sql string, at int) int {
	return 1 + strings.Count(sql[:max(0, min(at, len(sql)))], "\n")
}

// statement is a node of the parser's tree with the kinds that are looked at; one of them is set, or none.
type statement struct {
	AlterDomainStmt       *alterDomain
	AlterEnumStmt         *alterEnum
	AlterObjectSchemaStmt *alterSchema
	AlterPolicyStmt       *onTable
	AlterSeqStmt          *onSequence
	AlterTableStmt        *alterTable
	CallStmt              *struct{}
	ClusterStmt           *onRelation
	CommentStmt           *comment
	CopyStmt              *copyStmt
	CreateDomainStmt      *createDomain
	CreateEnumStmt        *createEnum
	CreatePolicyStmt      *onTable
	CreateStatsStmt       *onRelations
	CreateStmt            *createTable
	CreateTableAsStmt     *createTableAs
	CreateTrigStmt        *onRelation
	DeleteStmt            *change
	DoStmt                *struct{}
	DropStmt              *drop
	IndexStmt             *createIndex
	InsertStmt            *change
	LockStmt              *lockTable
	MergeStmt             *change
	RefreshMatViewStmt    *refresh
	ReindexStmt           *reindex
	RenameStmt            *rename
	RuleStmt              *onRelation
	SelectStmt            *query
	TruncateStmt          *truncate
	UpdateStmt            *change
	VacuumStmt            *vacuum
	ViewStmt              *createView
}

type (
	onRelation  struct{ Relation relation }
	onTable     struct{ Table relation }
	onSequence  struct{ Sequence relation }
	onRelations struct {
		Relations []struct{ RangeVar relation }
	}
	alterDomain struct {
		Subtype  string
		TypeName []text
		Def      struct{ Constraint *constraint }
	}
	alterEnum struct {
		TypeName []text
		NewVal   string
		OldVal   string
	}
	alterSchema struct {
		ObjectType string
		Relation   relation
	}
	alterTable struct {
		Relation relation
		ObjType  string
		Cmds     []struct{ AlterTableCmd alterCommand }
	}
	comment struct {
		ObjType string
		Object  names
	}
	copyStmt struct {
		Relation *relation
		IsFrom   bool `json:"is_from"`
	}
	createDomain struct {
		DomainName  []text
		Constraints []json.RawMessage
	}
	createEnum  struct{ TypeName []text }
	createTable struct {
		Relation     relation
		IfNotExists  bool `json:"if_not_exists"`
		TableElts    []element
		InhRelations []struct{ RangeVar relation }
		PartBound    *struct{}
	}
	createTableAs struct{ Into struct{ Rel relation } }
	change        struct {
		Relation    relation
		WhereClause json.RawMessage
	}
	drop struct {
		Objects    []names
		RemoveType string
		Behavior   string
		Concurrent bool
	}
	createIndex struct {
		IdxName    string
		Relation   relation
		Concurrent bool
		Unique     bool
	}
	lockTable struct {
		onRelations
		Mode Mode
	}
	refresh struct {
		Relation   relation
		Concurrent bool
	}
	reindex struct {
		Kind     string
		Relation relation
		Params   []option
	}
	rename struct {
		RenameType string
		Relation   relation
		SubName    string
		NewName    string
	}
	query    struct{ IntoClause struct{ Rel relation } }
	truncate struct {
		onRelations
		Behavior string
	}
	vacuum struct {
		Options []option
		Rels    []struct{ VacuumRelation onRelation }
	}
	createView struct {
		View    relation
		Replace bool
	}
)

// relation is the name of a table or the like.
type relation struct {
	SchemaName, RelName string
	RelPersistence      string
	Location            int
}

// name is the relation as it is known here: without a schema where none is named.
func (r relation) name() string {
	if r.SchemaName != "" {
		return r.SchemaName + "." + r.RelName
	}
	return r.RelName
}

// text is a String node.
type text struct{ String struct{ SVal string } }

func joined(parts []text) string {
	var all []string
	for _, p := range parts {
		all = append(all, p.String.SVal)
	}
	return strings.Join(all, ".")
}

// names is a name in parts, as objects of DROP and COMMENT have it.
type names struct {
	List struct{ Items []text }
}

// relation is the name without its last drop parts.
func (n names) relation(drop int) string {
	items := n.List.Items
	return joined(items[:max(0, len(items)-drop)])
}

// option is one of those in parentheses.
type option struct{ DefElem struct{ DefName string } }

func has(options []option, name string) bool {
	for _, o := range options {
		if o.DefElem.DefName == name {
			return true
		}
	}
	return false
}

// element is a part of CREATE TABLE.
type element struct {
	ColumnDef       *columnDef
	Constraint      *constraint
	TableLikeClause *onRelation
}

type columnDef struct {
	ColName     string
	TypeName    typeName
	Constraints []struct{ Constraint constraint }
	RawDefault  json.RawMessage `json:"raw_default"` // of ALTER TYPE: what USING says
	CollClause  json.RawMessage
	Location    int
}

type constraint struct {
	ConType        string
	ConName        string
	Location       int
	RawExpr        json.RawMessage `json:"raw_expr"`
	SkipValidation bool            `json:"skip_validation"`
	IndexName      string
	PKTable        relation
	Keys           []text
	FKAttrs        []text `json:"fk_attrs"`
	PKAttrs        []text `json:"pk_attrs"`
}

type alterCommand struct {
	Subtype  string
	Name     string
	Def      alterDef
	Behavior string
}

// cascade is how DROP takes along what depends on it.
const cascade = "DROP_CASCADE"

// alterDef is what a command of ALTER TABLE works with.
type alterDef struct {
	ColumnDef    *columnDef
	Constraint   *constraint
	PartitionCmd *struct {
		Name       relation
		Concurrent bool
	}
	RangeVar *relation
	List     struct{ Items []option }
}

type typeName struct {
	Names       []text
	TypMods     []json.RawMessage
	ArrayBounds []json.RawMessage
	Location    int
}

// walk calls visit for every object in a tree, outer ones first.
func walk(raw json.RawMessage, visit func(kind string, n map[string]any)) {
	var tree any
	if len(raw) == 0 || json.Unmarshal(raw, &tree) != nil {
		return
	}
	var down func(kind string, v any)
	down = func(kind string, v any) {
		switch v := v.(type) {
		case map[string]any:
			visit(kind, v)
			for k, child := range v {
				down(k, child)
			}
		case []any:
			for _, child := range v {
				down(kind, child)
			}
		}
	}
	down("", tree)
}
