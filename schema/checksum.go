package schema

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"
)

// checksum is of what a file does: its statements up and down as the file has them, without comments, with one space for
// any space between tokens. Values from the environment do not count, and quoted text counts to the letter.
func (m *migration) checksum() string {
	sum := sha256.New()
	fmt.Fprintf(sum, "outside %t, environment %t\n", m.outside, m.env)
	for _, p := range []program{m.up, m.down} {
		fmt.Fprintf(sum, "%d statements\n", len(p.statements))
		for _, s := range p.statements {
			said := tokensOf(s.text)
			fmt.Fprintf(sum, "%d %s\n", len(said), said)
		}
	}
	return "program:" + hex.EncodeToString(sum.Sum(nil))
}

// tokensOf is a statement without what the server passes over. Where a quote does not end, the rest is left as it is.
func tokensOf(sql string) string {
	tokens, open := lex(sql)
	var b strings.Builder
	end := 0
	for _, t := range tokens {
		if b.Len() > 0 && t.start > end {
			b.WriteByte(' ')
		}
		b.WriteString(t.text)
		end = t.start + len(t.text)
	}
	if open.what != "" {
		b.WriteString(sql[end:])
	}
	return b.String()
}
