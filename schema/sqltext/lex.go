// Package sqltext reads SQL as PostgreSQL cuts it into tokens and statements, and puts other names where it speaks of a
// tenant's schema and role. It knows no server.
package sqltext

import (
	"strings"
	"unicode"
	"unicode/utf8"
)

// TokenType is what a token of SQL is.
type TokenType int

const (
	Word    TokenType = iota // a key word or a name without quotes
	Quoted                   // a name in double quotes
	Literal                  // a string, in whatever quotes
	Number                   // digits, or a parameter such as $1
	Symbol                   // anything else, a character at a time
)

// Token is a piece of SQL that is neither space nor comment.
type Token struct {
	Kind  TokenType
	Text  string // as written
	Start int    // bytes before it
	Line  int    // from 1
}

// Is tells whether the token is that key word, in any case.
func (t Token) Is(key string) bool { return t.Kind == Word && strings.EqualFold(t.Text, key) }

// Name is the identifier that the token stands for, or "" where it is none.
func (t Token) Name() string {
	switch t.Kind {
	case Word:
		return strings.ToLower(t.Text)
	case Quoted:
		return strings.ReplaceAll(t.Text[1:max(1, len(t.Text)-1)], `""`, `"`)
	}
	return ""
}

// open is a quote or comment that does not end.
type open struct {
	What string // "string", "dollar-quoted string", "quoted name", "comment"; empty where all are closed
	Line int
}

// Lex cuts SQL into tokens as PostgreSQL does with standard_conforming_strings on.
func Lex(sql string) ([]Token, open) {
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
	tokens []Token
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
		return l.quoted(Literal, "string", stringEnd(rest, '\'', false))
	case r == '"':
		return l.quoted(Quoted, "quoted name", stringEnd(rest, '"', false))
	case (r == 'e' || r == 'E') && strings.HasPrefix(rest[1:], "'"):
		end := stringEnd(rest[1:], '\'', true)
		if end >= 0 {
			end++
		}
		return l.quoted(Literal, "string", end)
	case r == '$':
		if tag := DollarTag(rest); tag != "" {
			end := strings.Index(rest[len(tag):], tag)
			if end >= 0 {
				end += 2 * len(tag)
			}
			return l.quoted(Literal, "dollar-quoted string", end)
		}
		l.add(Number, 1+PrefixLen(rest[1:], IsDigit))
	case IsDigit(r):
		l.add(Number, PrefixLen(rest, func(r rune) bool { return IsDigit(r) || r == '.' || r == '_' || unicode.IsLetter(r) }))
	case isNameStart(r):
		l.add(Word, PrefixLen(rest, func(r rune) bool { return isNameStart(r) || IsDigit(r) || r == '$' }))
	default:
		l.add(Symbol, size)
	}
	return ""
}

func (l *lexer) quoted(k TokenType, what string, end int) (unfinished string) {
	if end < 0 {
		return what
	}
	l.add(k, end)
	return ""
}

func (l *lexer) add(k TokenType, size int) {
	l.tokens = append(l.tokens, Token{k, l.sql[l.pos : l.pos+size], l.pos, l.line})
	l.skip(size)
}

func (l *lexer) skip(size int) {
	l.line += strings.Count(l.sql[l.pos:l.pos+size], "\n")
	l.pos += size
}

func IsDigit(r rune) bool     { return r >= '0' && r <= '9' }
func isNameStart(r rune) bool { return r == '_' || unicode.IsLetter(r) || r >= utf8.RuneSelf }

// PrefixLen is how many bytes at the beginning of s are made of such runes.
func PrefixLen(s string, of func(rune) bool) int {
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

// DollarTag is the $tag$ that s begins with, or "".
func DollarTag(s string) string {
	n := PrefixLen(s[1:], func(r rune) bool { return isNameStart(r) || IsDigit(r) })
	if n+1 >= len(s) || s[n+1] != '$' || (n > 0 && IsDigit(rune(s[1]))) {
		return ""
	}
	return s[:n+2]
}

// Split cuts tokens into SQL statements at the semicolons that end one: not those within parentheses or within the
// BEGIN ATOMIC ... END of a routine. Empty statements are left out, as the server leaves them out.
func Split(tokens []Token) [][]Token {
	var all [][]Token
	var parens, blocks, from int
	end := func(i int) {
		if i > from {
			all = append(all, tokens[from:i])
		}
		from = i + 1
	}
	for i, t := range tokens {
		switch {
		case t.Text == "(":
			parens++
		case t.Text == ")":
			parens--
		case t.Is("atomic") && i > from && tokens[i-1].Is("begin") && MakesRoutine(tokens[from:i]):
			blocks = 1
		case blocks > 0 && t.Is("case"):
			blocks++
		case blocks > 0 && t.Is("end"):
			blocks--
		case t.Text == ";" && parens <= 0 && blocks == 0:
			end(i)
			parens = 0
		}
	}
	end(len(tokens))
	return all
}

// Begins tells whether a statement begins with those key words.
func Begins(statement []Token, keys ...string) bool {
	if len(statement) < len(keys) {
		return false
	}
	for i, key := range keys {
		if !statement[i].Is(key) {
			return false
		}
	}
	return true
}

func MakesRoutine(statement []Token) bool {
	return Begins(statement, "create", "function") || Begins(statement, "create", "procedure") ||
		Begins(statement, "create", "or", "replace", "function") || Begins(statement, "create", "or", "replace", "procedure")
}

// MaxShown is how many characters of a statement an error shows.
const MaxShown = 200

// Show is a statement for an error: on one line, without the values in it, shortened.
func Show(sql string) string {
	tokens, _ := Lex(sql)
	var b strings.Builder
	end := 0
	for i, t := range tokens {
		if i > 0 && t.Start > end {
			b.WriteByte(' ')
		}
		end = t.Start + len(t.Text)
		if t.Kind == Literal {
			b.WriteString("'…'")
		} else {
			b.WriteString(t.Text)
		}
	}
	text := strings.TrimSuffix(strings.Join(strings.Fields(strings.ToValidUTF8(b.String(), "�")), " "), ";")
	if r := []rune(text); len(r) > MaxShown {
		text = string(r[:MaxShown]) + "…"
	}
	return text
}
