package lint

import (
	"encoding/json"
	"slices"
	"strings"
)

// base is the type's name without pg_catalog.
func (t *typeName) base() string { return strings.TrimPrefix(joined(t.Names), "pg_catalog.") }

// String is the type as a person writes it.
func (t *typeName) String() string {
	name := t.base()
	if long, ok := map[string]string{"int2": "smallint", "int4": "integer", "int8": "bigint", "bpchar": "char", "float4": "real", "float8": "double precision", "bool": "boolean"}[name]; ok {
		name = long
	}
	if mods, ok := t.mods(); ok && len(mods) > 0 {
		var all []string
		for _, m := range mods {
			all = append(all, m.String())
		}
		name += "(" + strings.Join(all, ",") + ")"
	}
	return name + strings.Repeat("[]", len(t.ArrayBounds))
}

// mods are the numbers in parentheses; ok is false where one is no number.
func (t *typeName) mods() (out []json.Number, ok bool) {
	for _, raw := range t.TypMods {
		var m struct {
			AConst *struct {
				IVal struct{ IVal json.Number }
			} `json:"A_Const"`
		}
		if json.Unmarshal(raw, &m) != nil || m.AConst == nil {
			return nil, false
		}
		if m.AConst.IVal.IVal == "" {
			m.AConst.IVal.IVal = "0" // the parser leaves out what is zero
		}
		out = append(out, m.AConst.IVal.IVal)
	}
	return out, true
}

// limits are the numbers in parentheses as they bound a value; none is no bound.
func (t *typeName) limits() (out []int64, ok bool) {
	mods, ok := t.mods()
	for _, m := range mods {
		n, err := m.Int64()
		if err != nil {
			return nil, false
		}
		out = append(out, n)
	}
	return out, ok
}

// coercible are types whose values are the same bytes in the other type.
var coercible = map[string][]string{
	"varchar": {"text"}, "text": {"varchar"}, "cidr": {"inet"}, "bit": {"varbit"}, "xml": {"text", "varchar"},
	"int4": {"oid"}, "oid": {"int4"},
}

// widens tells whether a column of type from becomes one of type to without a row being looked at.
func widens(from, to *typeName) bool {
	if len(from.ArrayBounds) != len(to.ArrayBounds) {
		return false
	}
	had, ok := from.limits()
	has, ok2 := to.limits()
	if !ok || !ok2 {
		return false
	}
	a, b := from.base(), to.base()
	if a != b && !slices.Contains(coercible[a], b) {
		return false
	}
	switch {
	case len(has) == 0:
		return a != "bpchar" && a != "bit" && b != "interval" || len(had) == 0 && a == b
	case a != b:
		return a == "varchar" && b == "varchar"
	case slices.Equal(had, has):
		return true
	case len(had) == 0:
		return false
	}
	switch a {
	case "varchar", "varbit", "time", "timetz", "timestamp", "timestamptz":
		return has[0] >= had[0]
	case "numeric": // more digits before the point, the same behind it
		return has[0] >= had[0] && scale(had) == scale(has)
	}
	return false
}

func scale(limits []int64) int64 {
	if len(limits) < 2 {
		return 0
	}
	return limits[1]
}

// only tells whether what USING says is the column itself, or its value in the new type.
func only(using json.RawMessage, column string, to *typeName) bool {
	if len(using) == 0 {
		return true
	}
	var e struct {
		columnRef
		TypeCast struct {
			Arg      columnRef
			TypeName typeName
		}
	}
	if json.Unmarshal(using, &e) != nil {
		return false
	}
	return e.name() == column || e.TypeCast.Arg.name() == column && e.TypeCast.TypeName.String() == to.String()
}

// steady are functions that give one value for a whole statement: not volatile.
var steady = []string{
	"now", "transaction_timestamp", "statement_timestamp", "current_setting", "current_schema", "current_database", "pg_backend_pid", "txid_current", "pg_current_xact_id",
	"date_trunc", "date_part", "to_char", "to_date", "to_timestamp", "to_number", "make_date", "make_interval", "make_time", "make_timestamp", "make_timestamptz", "timezone", "age", "extract", "date",
	"lower", "upper", "initcap", "concat", "concat_ws", "format", "md5", "sha256", "length", "substr", "substring", "btrim", "ltrim", "rtrim", "replace", "repeat", "left", "right", "lpad", "rpad", "trim", "encode", "decode", "convert_to", "quote_ident", "quote_literal", "chr", "ascii",
	"abs", "ceil", "ceiling", "floor", "round", "trunc", "mod", "power", "sqrt", "sign", "greatest", "least", "coalesce", "nullif",
	"jsonb_build_object", "json_build_object", "jsonb_build_array", "json_build_array", "to_json", "to_jsonb", "array_append", "array_cat", "array_fill", "array_to_string", "string_to_array", "tsvector", "to_tsvector", "int4range", "int8range", "numrange", "tsrange", "tstzrange", "daterange", "inet_client_addr",
}

// restless are functions of which it is known that each row gets a value of its own.
var restless = []string{"random", "random_normal", "gen_random_uuid", "uuidv4", "uuidv7", "clock_timestamp", "timeofday", "nextval", "gen_random_bytes", "uuid_generate_v1", "uuid_generate_v1mc", "uuid_generate_v4"}

// calls finds a function in an expression that may give each row a value of its own; sure says that it does.
func calls(expr json.RawMessage) (function string, sure bool) {
	walk(expr, func(kind string, n map[string]any) {
		if kind != "FuncCall" || sure {
			return
		}
		if name := lastName(n["funcname"]); !slices.Contains(steady, name) {
			function, sure = name, slices.Contains(restless, name)
		}
	})
	return function, sure
}

// lastName is the last part of a name in a tree without types.
func lastName(tree any) string {
	parts, _ := tree.([]any)
	if len(parts) == 0 {
		return ""
	}
	last, _ := parts[len(parts)-1].(map[string]any)
	s, _ := last["String"].(map[string]any)
	name, _ := s["sval"].(string)
	return name
}
