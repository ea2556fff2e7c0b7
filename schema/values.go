package schema

import "strings"

// WithoutValues is a statement with its literals taken out, and its comments. Of one whose literals end where a setting of
// the server's says, and of one that does not end, nothing is kept but its first word.
func (r *Resource) WithoutValues(sql string) string {
	tokens, unended := lex(sql)
	if len(tokens) == 0 {
		return ""
	}
	var b strings.Builder
	end := 0
	for i, t := range tokens {
		if unended.what != "" || t.kind == literal && t.text[0] == '\'' && strings.Contains(t.text, `\`) {
			if tokens[0].kind == word {
				return tokens[0].text + " …"
			}
			return "…"
		}
		if i > 0 && t.start > end {
			b.WriteByte(' ')
		}
		if t.kind == literal || t.kind == number && t.text[0] != '$' {
			b.WriteByte('?')
		} else {
			b.WriteString(t.text)
		}
		end = t.start + len(t.text)
	}
	return b.String()
}
