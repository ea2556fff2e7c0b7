package schema

import (
	"slices"
	"strings"
)

// session finds what changes where names are looked up, or who works, in every spelling that can be seen.
func (c *linter) session(line int, sql []token) {
	if len(sql) == 0 {
		return
	}
	at := line + sql[0].line
	switch what := changedSetting(sql); what {
	case "search_path":
		c.found(at, "search-path", "%s: what follows leaves the tenant's schema", spelled(sql))
	case "role":
		c.found(at, "role-change", "%s: what follows is not the provisioning role's", spelled(sql))
	}
}

// spelled is how a statement changes a setting.
func spelled(sql []token) string {
	if i := slices.IndexFunc(sql, func(t token) bool { return t.is("set_config") }); i >= 0 {
		return "set_config of " + strings.ToLower(strings.Trim(sql[min(i+2, len(sql)-1)].text, "'"))
	}
	return strings.ToUpper(sql[0].text) + " " + settingOf(sql)
}

// changedSetting tells which of the two settings a statement changes: search_path, role, or neither.
func changedSetting(sql []token) string {
	if i := slices.IndexFunc(sql, func(t token) bool { return t.is("set_config") }); i >= 0 && i+2 < len(sql) && sql[i+2].kind == literal {
		return settingClass(strings.ToLower(strings.Trim(sql[i+2].text, "'")))
	}
	// In the code of a function, a statement may stand after THEN, ELSE, BEGIN or LOOP.
	for i, t := range sql {
		first := i == 0 || slices.ContainsFunc([]string{"then", "else", "begin", "loop"}, sql[i-1].is)
		if !first || !(t.is("set") || t.is("reset") || t.is("discard")) {
			continue
		}
		rest := sql[i+1:]
		if begins(rest, "local") || begins(rest, "session") && !begins(rest, "session", "authorization") {
			rest = rest[1:]
		}
		if len(rest) == 0 {
			continue
		}
		name := strings.ToLower(rest[0].name())
		if begins(rest, "session", "authorization") {
			name = "session_authorization"
		}
		if class := settingClass(name); class == "search_path" || class == "role" && t.is("set") {
			return class
		}
	}
	return ""
}

func settingClass(name string) string {
	switch name {
	case "search_path", "schema", "all":
		return "search_path"
	case "role", "session_authorization":
		return "role"
	}
	return ""
}
