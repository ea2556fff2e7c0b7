package schema

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// kind is what a token of SQL is.
type kind int

const (
	word    kind = iota // a key word or a name without quotes
	quoted              // a name in double quotes
	literal             // a string, in whatever quotes
	number              // digits, or a parameter such as $1
	symbol              // anything else, a character at a time
)

// token is a piece of SQL that is neither space nor comment.
type token struct {
	kind  kind
	text  string // as written
	start int    // bytes before it
	line  int    // from 1
}

// is tells whether the token is that key word, in any case.
func (t token) is(key string) bool { return t.kind == word && strings.EqualFold(t.text, key) }

// name is the identifier that the token stands for, or "" where it is none.
func (t token) name() string {
	switch t.kind {
	case word:
		return strings.ToLower(t.text)
	case quoted:
		return strings.ReplaceAll(t.text[1:max(1, len(t.text)-1)], `""`, `"`)
	}
	return ""
}

// open is a quote or comment that does not end.
type open struct {
	what string // "string", "dollar-quoted string", "quoted name", "comment"; empty where all are closed
	line int
}

// lex cuts SQL into tokens as PostgreSQL does with standard_conforming_strings on.
func lex(sql string) ([]token, open) {
	l := lexer{sql: sql, line: 1}
	for l.pos < len(l.sql) {
		if what := l.next(); what != "" {
			return l.tokens, open{what, l.line}
		}
	}
	return l.tokens, open{}
}

type lexer struct {
	sql    string
	pos    int
	line   int // of pos
	tokens []token
}

// next reads one token, space or comment, and names what does not end.
func (l *lexer) next() (unfinished string) {
	rest := l.sql[l.pos:]
	r, size := utf8.DecodeRuneInString(rest)
	switch {
	case strings.ContainsRune(" \t\n\r\f\v", r):
		l.skip(size)
	case strings.HasPrefix(rest, "--"):
		if end := strings.IndexAny(rest, "\n\r"); end >= 0 {
			l.skip(end)
		} else {
			l.skip(len(rest))
		}
	case strings.HasPrefix(rest, "/*"):
		end := commentEnd(rest)
		if end < 0 {
			return "comment"
		}
		l.skip(end)
	case r == '\'':
		return l.quoted(literal, "string", stringEnd(rest, '\'', false))
	case r == '"':
		return l.quoted(quoted, "quoted name", stringEnd(rest, '"', false))
	case (r == 'e' || r == 'E') && strings.HasPrefix(rest[1:], "'"):
		end := stringEnd(rest[1:], '\'', true)
		if end >= 0 {
			end++
		}
		return l.quoted(literal, "string", end)
	case r == '$':
		if tag := dollarTag(rest); tag != "" {
			end := strings.Index(rest[len(tag):], tag)
			if end >= 0 {
				end += 2 * len(tag)
			}
			return l.quoted(literal, "dollar-quoted string", end)
		}
		l.add(number, 1+prefix(rest[1:], isDigit))
	case isDigit(r):
		l.add(number, prefix(rest, func(r rune) bool { return isDigit(r) || r == '.' || r == '_' || unicode.IsLetter(r) }))
	case isNameStart(r):
		l.add(word, prefix(rest, func(r rune) bool { return isNameStart(r) || isDigit(r) || r == '$' }))
	default:
		l.add(symbol, size)
	}
	return ""
}

func (l *lexer) quoted(k kind, what string, end int) (unfinished string) {
	if end < 0 {
		return what
	}
	l.add(k, end)
	return ""
}

func (l *lexer) add(k kind, size int) {
	l.tokens = append(l.tokens, token{k, l.sql[l.pos : l.pos+size], l.pos, l.line})
	l.skip(size)
}

func (l *lexer) skip(size int) {
	l.line += strings.Count(l.sql[l.pos:l.pos+size], "\n")
	l.pos += size
}

func isDigit(r rune) bool     { return r >= '0' && r <= '9' }
func isNameStart(r rune) bool { return r == '_' || unicode.IsLetter(r) || r >= utf8.RuneSelf }

// prefix is how many bytes at the beginning of s are made of such runes.
func prefix(s string, of func(rune) bool) int {
	for i, r := range s {
		if !of(r) {
			return i
		}
	}
	return len(s)
}

// stringEnd is the length of the quoted text that s begins with, -1 where it does not end.
func stringEnd(s string, quote byte, backslash bool) int {
	for i := 1; i < len(s); i++ {
		switch {
		case backslash && s[i] == '\\':
			i++
		case s[i] == quote && i+1 < len(s) && s[i+1] == quote:
			i++
		case s[i] == quote:
			return i + 1
		}
	}
	return -1
}

// commentEnd is the length of the comment that s begins with, with those nested in it, -1 where it does not end.
func commentEnd(s string) int {
	depth := 0
	for i := 0; i+1 < len(s); i++ {
		switch s[i : i+2] {
		case "/*":
			depth++
			i++
		case "*/":
			depth--
			i++
			if depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// dollarTag is the $tag$ that s begins with, or "".
func dollarTag(s string) string {
	n := prefix(s[1:], func(r rune) bool { return isNameStart(r) || isDigit(r) })
	if n+1 >= len(s) || s[n+1] != '$' || (n > 0 && isDigit(rune(s[1]))) {
		return ""
	}
	return s[:n+2]
}

// split cuts tokens into SQL statements at the semicolons that end one: not those within parentheses or within the
// BEGIN ATOMIC ... END of a routine. Empty statements are left out, as the server leaves them out.
func split(tokens []token) [][]token {
	var all [][]token
	var parens, blocks, from int
	end := func(i int) {
		if i > from {
			all = append(all, tokens[from:i])
		}
		from = i + 1
	}
	for i, t := range tokens {
		switch {
		case t.text == "(":
			parens++
		case t.text == ")":
			parens--
		case t.is("atomic") && i > from && tokens[i-1].is("begin") && makesRoutine(tokens[from:i]):
			blocks = 1
		case blocks > 0 && t.is("case"):
			blocks++
		case blocks > 0 && t.is("end"):
			blocks--
		case t.text == ";" && parens <= 0 && blocks == 0:
			end(i)
			parens = 0
		}
	}
	end(len(tokens))
	return all
}

// begins tells whether a statement begins with those key words.
func begins(statement []token, keys ...string) bool {
	if len(statement) < len(keys) {
		return false
	}
	for i, key := range keys {
		if !statement[i].is(key) {
			return false
		}
	}
	return true
}

func makesRoutine(statement []token) bool {
	return begins(statement, "create", "function") || begins(statement, "create", "procedure") ||
		begins(statement, "create", "or", "replace", "function") || begins(statement, "create", "or", "replace", "procedure")
}

// maxShown is how many characters of a statement an error shows.
const maxShown = 200

// show is a statement for an error: on one line, without the values in it, shortened.
func show(sql string) string {
	tokens, _ := lex(sql)
	var b strings.Builder
	end := 0
	for i, t := range tokens {
		if i > 0 && t.start > end {
			b.WriteByte(' ')
		}
		end = t.start + len(t.text)
		if t.kind == literal {
			b.WriteString("'…'")
		} else {
			b.WriteString(t.text)
		}
	}
	text := strings.TrimSuffix(strings.Join(strings.Fields(strings.ToValidUTF8(b.String(), "�")), " "), ";")
	if r := []rune(text); len(r) > maxShown {
		text = string(r[:maxShown]) + "…"
	}
	return text
}
