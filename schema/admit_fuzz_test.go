package schema

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/wasilibs/go-pgquery/parser"
)

// node is a piece of PostgreSQL's own parse tree.
type node = map[string]any

// admittedNodes are the kinds of statement that a restore may send, as PostgreSQL's parser calls them, each with what has
// to hold for it besides.
var admittedNodes = map[string]func(n node) bool{
	"CreateStmt":             func(n node) bool { return inAcme(n["relation"]) && n["tablespacename"] == nil && n["partbound"] == nil },
	"CreateForeignTableStmt": func(n node) bool { base, _ := n["base"].(node); return base != nil && inAcme(base["relation"]) },
	"ViewStmt":               func(n node) bool { return inAcme(n["view"]) },
	"CreateTableAsStmt": func(n node) bool {
		return n["objtype"] == "OBJECT_MATVIEW" && inAcme(within(n, "into", "rel")) && within(n, "into", "skipData") == true
	},
	"CreateSeqStmt":              func(n node) bool { return inAcme(n["sequence"]) },
	"CompositeTypeStmt":          func(n node) bool { return inAcme(n["typevar"]) },
	"CreateEnumStmt":             func(n node) bool { return namesAcme(n["typeName"]) },
	"CreateRangeStmt":            func(n node) bool { return namesAcme(n["typeName"]) },
	"DefineStmt":                 func(n node) bool { return namesAcme(n["defnames"]) },
	"CreateDomainStmt":           func(n node) bool { return namesAcme(n["domainname"]) },
	"CreateFunctionStmt":         func(n node) bool { return namesAcme(n["funcname"]) && n["replace"] == nil },
	"CreateOpClassStmt":          func(n node) bool { return namesAcme(n["opclassname"]) },
	"CreateOpFamilyStmt":         func(n node) bool { return namesAcme(n["opfamilyname"]) },
	"CreateConversionStmt":       func(n node) bool { return namesAcme(n["conversion_name"]) },
	"CreateStatsStmt":            func(n node) bool { return namesAcme(n["defnames"]) },
	"IndexStmt":                  func(n node) bool { return inAcme(n["relation"]) && n["concurrent"] == nil },
	"CreateTrigStmt":             func(n node) bool { return inAcme(n["relation"]) },
	"RuleStmt":                   func(n node) bool { return inAcme(n["relation"]) },
	"CreatePolicyStmt":           func(n node) bool { return inAcme(n["table"]) },
	"AlterTableStmt":             func(n node) bool { return inAcme(n["relation"]) && oneChange(n) },
	"AlterSeqStmt":               func(n node) bool { return inAcme(n["sequence"]) },
	"AlterDomainStmt":            func(n node) bool { return namesAcme(n["typeName"]) && n["subtype"] == "C" },
	"AlterOpFamilyStmt":          func(n node) bool { return namesAcme(n["opfamilyname"]) && n["isDrop"] == nil },
	"AlterTSConfigurationStmt":   func(n node) bool { return namesAcme(n["cfgname"]) && n["kind"] == "ALTER_TSCONFIG_ADD_MAPPING" },
	"AlterStatsStmt":             func(n node) bool { return namesAcme(n["defnames"]) },
	"AlterObjectDependsStmt":     func(node) bool { return true },
	"CommentStmt":                func(n node) bool { return ofObject(n["objtype"]) },
	"SecLabelStmt":               func(n node) bool { return ofObject(n["objtype"]) },
	"RefreshMatViewStmt":         func(n node) bool { return inAcme(n["relation"]) },
	"GrantStmt":                  func(n node) bool { return n["targtype"] == "ACL_TARGET_OBJECT" && n["grantor"] == nil },
	"AlterDefaultPrivilegesStmt": func(n node) bool { return mentionsOption(n, "schemas") },
	"SelectStmt":                 isSetval,
	"VariableSetStmt":            func(n node) bool { return n["name"] == "default_table_access_method" && n["is_local"] == true },
}

// within is what stands at a path in a tree.
func within(v any, path ...string) any {
	for _, p := range path {
		n, ok := v.(node)
		if !ok {
			return nil
		}
		v = n[p]
	}
	return v
}

func inAcme(relation any) bool {
	return within(relation, "schemaname") == "tenant_acme" && within(relation, "catalogname") == nil && within(relation, "relpersistence") != "t"
}

// namesAcme tells whether a name of several pieces is one of the tenant's schema.
func namesAcme(list any) bool {
	all, _ := list.([]any)
	return len(all) == 2 && within(all[0], "String", "sval") == "tenant_acme"
}

// oneChange tells whether ALTER TABLE makes one change, of a kind that dumps make.
func oneChange(n node) bool {
	all, _ := n["cmds"].([]any)
	kind, _ := within(first(all), "AlterTableCmd", "subtype").(string)
	return len(all) == 1 && slices.Contains([]string{
		"AT_AddConstraint", "AT_ColumnDefault", "AT_SetStatistics", "AT_SetStorage", "AT_SetCompression", "AT_SetOptions", "AT_SetNotNull", "AT_DropNotNull",
		"AT_AlterColumnGenericOptions", "AT_AddIdentity", "AT_AttachPartition", "AT_ClusterOn", "AT_SetRelOptions", "AT_SetAccessMethod", "AT_ReplicaIdentity",
		"AT_EnableRowSecurity", "AT_DisableRowSecurity", "AT_ForceRowSecurity", "AT_EnableTrig", "AT_DisableTrig", "AT_EnableAlwaysTrig", "AT_EnableReplicaTrig",
		"AT_EnableRule", "AT_DisableRule", "AT_EnableAlwaysRule", "AT_EnableReplicaRule",
	}, kind)
}

func first(all []any) any {
	if len(all) == 0 {
		return nil
	}
	return all[0]
}

func ofObject(kind any) bool {
	text, _ := kind.(string)
	return text != "" && !slices.Contains([]string{
		"OBJECT_SCHEMA", "OBJECT_DATABASE", "OBJECT_ROLE", "OBJECT_TABLESPACE", "OBJECT_EXTENSION", "OBJECT_LARGEOBJECT", "OBJECT_EVENT_TRIGGER", "OBJECT_CAST",
		"OBJECT_LANGUAGE", "OBJECT_PUBLICATION", "OBJECT_SUBSCRIPTION", "OBJECT_FDW", "OBJECT_FOREIGN_SERVER", "OBJECT_TRANSFORM", "OBJECT_ACCESS_METHOD",
	}, text)
}

func mentionsOption(n node, name string) bool {
	all, _ := n["options"].([]any)
	return slices.ContainsFunc(all, func(o any) bool { return within(o, "DefElem", "defname") == name })
}

// isSetval tells whether a query is a single call of setval with three constants, on a sequence of the schema.
func isSetval(n node) bool {
	targets, _ := n["targetList"].([]any)
	call, _ := within(first(targets), "ResTarget", "val", "FuncCall").(node)
	name, _ := call["funcname"].([]any)
	args, _ := call["args"].([]any)
	of, _ := within(first(args), "A_Const", "sval", "sval").(string)
	constants := !slices.ContainsFunc(args, func(a any) bool { return within(a, "A_Const") == nil })
	return n["fromClause"] == nil && n["whereClause"] == nil && len(targets) == 1 && len(name) == 2 && within(name[0], "String", "sval") == "pg_catalog" &&
		within(name[1], "String", "sval") == "setval" && len(args) == 3 && constants && strings.HasPrefix(of, `"tenant_acme".`)
}

// wrong says why PostgreSQL's own parser would not admit what we admitted; empty where it would, or refuses it all.
func wrong(sql string, languages map[string]sqlStatement) string {
	tree, err := parser.ParseToJSON(sql)
	if err != nil {
		return "" // the server refuses it too
	}
	var all struct {
		Stmts []struct{ Stmt node }
	}
	if err := json.Unmarshal([]byte(tree), &all); err != nil {
		return ""
	}
	if len(all.Stmts) != 1 {
		return "it is not one statement"
	}
	for kind, inner := range all.Stmts[0].Stmt {
		check := admittedNodes[kind]
		if n, _ := inner.(node); check == nil || !check(n) {
			return "it is a " + kind + ": " + tree
		} else if kind == "CreateFunctionStmt" {
			return wrongLanguage(n, languages)
		}
	}
	return ""
}

func wrongLanguage(n node, languages map[string]sqlStatement) string {
	all, _ := n["options"].([]any)
	for _, o := range all {
		if within(o, "DefElem", "defname") != "language" {
			continue
		}
		name, _ := within(o, "DefElem", "arg", "String", "sval").(string)
		if _, known := languages[strings.ToLower(name)]; !known {
			return "its language " + name + " is not seen"
		}
	}
	return ""
}

// written are statements of archives: of rare.sql and everything.sql, as pg_dump 15 writes them.
func written(t testing.TB) []sqlStatement {
	t.Helper()
	content, err := os.ReadFile("testdata/definitions.sql")
	must(t, err)
	return statementsOf(string(content))
}

func TestPostgreSQLsParserSeesWhatIsAdmittedAsWeDo(t *testing.T) {
	for _, s := range written(t) {
		one, err := admit(partPre, []sqlStatement{s}, acme, "tenant_acme")
		must(t, err)
		for _, c := range one.commands {
			if _, err := parser.ParseToJSON(c.sql); err != nil {
				t.Errorf("%v\n%s", err, c.sql)
			}
			if why := wrong(c.sql, one.languages); why != "" {
				t.Errorf("%s\n%s", why, c.sql)
			}
		}
	}
	for _, sql := range []string{"SELECT 1", "CREATE TABLE x (a int)", "GRANT a TO b", `ALTER TABLE tenant_acme.t OWNER TO x`, "SELECT 1; SELECT 2"} {
		if wrong(sql, nil) == "" {
			t.Errorf("the witness takes %s", sql)
		}
	}
}

// FuzzArchiveStatements holds what is admitted of a part against PostgreSQL's own parser: it is one statement, of a kind
// that dumps write, on an object of the tenant's schema.
func FuzzArchiveStatements(f *testing.F) {
	for _, sql := range forgeries {
		f.Add(`CREATE VIEW :"tenant_schema".v AS SELECT 1; ` + sql + `; ALTER TABLE ONLY :"tenant_schema".t ADD CONSTRAINT c CHECK (a > 0);`)
	}
	for _, s := range written(f) {
		f.Add(s.text)
	}
	f.Fuzz(func(t *testing.T, part string) {
		all := statementsOf(part)
		for _, s := range all {
			one, err := admit(partPre, []sqlStatement{s}, acme, "tenant_acme")
			if err != nil {
				continue
			}
			for _, c := range one.commands {
				if why := wrong(c.sql, one.languages); why != "" {
					t.Errorf("%q is admitted, and %s", c.sql, why)
				}
			}
		}
	})
}
