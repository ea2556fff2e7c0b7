package migrationfile

import (
	"slices"
	"strings"

	"github.com/tenantctl/tenantctl/schema/sqltext"
)

// session finds what changes where names are looked up, or who works, in every spelling that can be seen.
func (c *linter) session(line int, sql []sqltext.Token) {
	if len(sql) == 0 {
		return
	}
	at := line + sql[0].Line
	switch what := changedSetting(sql); what {
	case "search_path":
		c.found(at, "search-path", "%s: what follows leaves the tenant's schema", spelled(sql))
	case "role":
		c.found(at, "role-change", "%s: what follows is not the provisioning role's", spelled(sql))
	}
}

// spelled is how a statement changes a setting.
func spelled(sql []sqltext.Token) string {
	if i := slices.IndexFunc(sql, func(t sqltext.Token) bool { return t.Is("set_config") }); i >= 0 {
		return "set_config of " + strings.ToLower(strings.Trim(sql[min(i+2, len(sql)-1)].Text, "'"))
	}
	return strings.ToUpper(sql[0].Text) + " " + settingOf(sql)
}

// changedSetting tells which of the two settings a statement changes: search_path, role, or neither.
func changedSetting(sql []sqltext.Token) string {
	if i := slices.IndexFunc(sql, func(t sqltext.Token) bool { return t.Is("set_config") }); i >= 0 && i+2 < len(sql) && sql[i+2].Kind == sqltext.Literal {
		return settingClass(strings.ToLower(strings.Trim(sql[i+2].Text, "'")))
	}
	// In the code of a function, a statement may stand after THEN, ELSE, BEGIN or LOOP.
	for i, t := range sql {
		first := i == 0 || slices.ContainsFunc([]string{"then", "else", "begin", "loop"}, sql[i-1].Is)
		if !first || !(t.Is("set") || t.Is("reset") || t.Is("discard")) {
			continue
		}
		rest := sql[i+1:]
		if sqltext.Begins(rest, "local") || sqltext.Begins(rest, "session") && !sqltext.Begins(rest, "session", "authorization") {
			rest = rest[1:]
		}
		if len(rest) == 0 {
			continue
		}
		name := strings.ToLower(rest[0].Name())
		if sqltext.Begins(rest, "session", "authorization") {
			name = "session_authorization"
		}
		if class := settingClass(name); class == "search_path" || class == "role" && t.Is("set") {
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
