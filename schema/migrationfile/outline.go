package migrationfile

import (
	"bytes"
	"fmt"
	"strings"
	"unicode"

	"github.com/tenantctl/tenantctl/schema/sqltext"
)

// outline is where in a file its statements stand and what is wrong with it. goose is what reads the files; but it
// gives no lines, so its rules are followed here a second time, and the tests hold the two together.
type outline struct {
	up, down []placed
	env      bool // ENVSUB: the file's text is not what the server gets
	fault    fault
}

// placed is a statement as the file has it.
type placed struct {
	Line int
	Text string
}

// fault is why a file cannot be read, the line of it, and the rule that it breaks; no fault is the zero value.
type fault struct {
	line int
	rule string // ruleBroken where it is empty
	msg  string
}

// annotations that goose knows, in any case.
const (
	annotationUp    = "Up"
	annotationDown  = "Down"
	annotationBegin = "StatementBegin"
	annotationEnd   = "StatementEnd"
	annotationNoTx  = "NO TRANSACTION"
	annotationEnvOn = "ENVSUB ON"
	annotationEnvNo = "ENVSUB OFF"
)

// outliner reads a file line by line.
type outliner struct {
	outline
	down    bool // below Down
	started bool // below Up
	begun   int  // line of the StatementBegin that is open, 0 where none is
	ended   bool // StatementEnd was read and its statement is not yet stored
	text    []string
	from    int  // line of text[0]
	envOn   bool // ENVSUB is on
	envText bool // it was on in a line of text
}

// outlineOf reads a file to its end or its first fault.
func outlineOf(content []byte) outline {
	var o outliner
	if bytes.HasPrefix(content, []byte("\ufeff")) {
		o.fault = fault{1, "", "the file begins with a byte order mark: save it as UTF-8 without one"}
		return o.outline
	}
	lines := strings.Split(string(content), "\n")
	if lines[len(lines)-1] == "" {
		lines = lines[:len(lines)-1]
	}
	for i, line := range lines {
		o.read(i+1, strings.TrimSuffix(line, "\r"))
		if o.fault.msg != "" {
			return o.outline
		}
	}
	switch {
	case !o.started:
		o.fault = fault{1, "", "no '-- +goose Up' annotation"}
	case o.begun > 0:
		o.fault = fault{o.begun, "", "StatementBegin without StatementEnd"}
	default:
		o.unfinished()
	}
	return o.outline
}

func (o *outliner) read(n int, line string) {
	trimmed := strings.TrimSpace(line)
	if !o.started && trimmed == "" {
		return
	}
	if strings.IndexByte(line, 0) >= 0 {
		o.fault = fault{n, "", "a NUL character"}
		return
	}
	if strings.HasPrefix(trimmed, "--") && strings.Contains(line, "+goose") && !o.annotate(n, line) {
		return
	}
	if len(o.text) == 0 && (strings.HasPrefix(trimmed, "--") || line == "") {
		return
	}
	if !o.started {
		o.fault = fault{n, "", "a statement before the '-- +goose Up' annotation"}
		return
	}
	if !o.ended {
		if len(o.text) == 0 {
			o.from = n
		}
		o.text = append(o.text, line)
		o.envText = o.envText || o.envOn
	}
	if o.ended && len(o.text) == 0 {
		o.fault = fault{n, "", "goose would leave out this line, after a StatementBegin and StatementEnd with nothing between them"}
		return
	}
	if o.ended || o.begun == 0 && endsStatement(line) {
		o.ended = false
		o.store()
	}
}

// annotate follows an annotation, and tells whether the line is to be read on as part of a statement.
func (o *outliner) annotate(n int, line string) bool {
	what := strings.TrimSpace(strings.Replace(strings.ReplaceAll(line, "--", ""), "+goose", "", 1))
	wrong := func(format string, args ...any) bool {
		o.fault = fault{n, "", fmt.Sprintf(format, args...)}
		return false
	}
	if line[0] == ' ' || line[0] == '\t' {
		return wrong("an annotation with space before it")
	}
	is := func(annotation string) bool { return strings.EqualFold(what, annotation) }
	switch {
	case is(annotationUp):
		if o.started {
			return wrong("a second '-- +goose Up' annotation")
		}
		o.started = true
	case is(annotationDown):
		switch {
		case !o.started:
			return wrong("'-- +goose Down' before '-- +goose Up'")
		case o.begun > 0:
			return wrong("'-- +goose Down' within the StatementBegin of line %d", o.begun)
		case o.down:
			return wrong("a second '-- +goose Down' annotation")
		}
		o.unfinished()
		o.down, o.ended = true, false
	case is(annotationBegin):
		switch {
		case !o.started:
			return wrong("StatementBegin before '-- +goose Up'")
		case o.begun > 0:
			return wrong("StatementBegin within the StatementBegin of line %d", o.begun)
		}
		o.begun = n
		o.ended = false
	case is(annotationEnd):
		if o.begun == 0 {
			return wrong("StatementEnd without StatementBegin")
		}
		o.begun, o.ended = 0, true
		return true
	case is(annotationNoTx):
	case is(annotationEnvNo):
		o.envOn = false
	case is(annotationEnvOn):
		o.env, o.envOn = true, true
	case what == "":
		return wrong("an empty annotation")
	default:
		return wrong("unknown annotation %q: goose knows Up, Down, StatementBegin, StatementEnd, NO TRANSACTION, ENVSUB ON and ENVSUB OFF", what)
	}
	return false
}

// store keeps the text read so far as a statement.
func (o *outliner) store() {
	text := strings.Join(o.text, "\n")
	statement := placed{o.from, strings.TrimSpace(text)}
	statement.Line += strings.Count(text[:len(text)-len(strings.TrimLeftFunc(text, unicode.IsSpace))], "\n")
	if o.down {
		o.outline.down = append(o.outline.down, statement)
	} else {
		o.up = append(o.up, statement)
	}
	if o.envText && dollarQuoted(statement.Text) {
		o.fault = fault{statement.Line, "", "between ENVSUB ON and ENVSUB OFF goose takes each $ for the beginning of a variable and each $$ for one $: write $$$$ for $$, or end it by ENVSUB OFF before"}
	}
	o.text, o.envText = nil, false
}

// unfinished finds text after the last semicolon.
func (o *outliner) unfinished() {
	if strings.TrimSpace(strings.Join(o.text, "")) == "" {
		o.text = nil
		return
	}
	o.store()
	last := o.up
	if o.down {
		last = o.outline.down
	}
	for _, s := range last[max(0, len(last)-2):] {
		tokens, _ := sqltext.Lex(s.Text)
		if f := foreignText(tokens); f.msg != "" {
			f.line += s.Line - 1
			o.fault = f
			return
		}
	}
	o.fault = fault{last[len(last)-1].Line, "", "a statement without a semicolon at its end"}
}

// endsStatement tells whether the last word of a line, comments aside, ends with a semicolon.
func endsStatement(line string) bool {
	last := ""
	for _, w := range strings.Fields(line) {
		if strings.HasPrefix(w, "--") {
			break
		}
		last = w
	}
	return strings.HasSuffix(last, ";")
}
