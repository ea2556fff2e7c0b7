package migrationfile

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/tenantctl/tenantctl/schema/sqltext"
)

// checksum is of what a file does: its statements up and down as the file has them, without comments, with one space for
// any space between tokens. Values from the environment do not count, and quoted text counts to the letter.
func (m *File) checksum() string {
	sum := sha256.New()
	fmt.Fprintf(sum, "outside %t, environment %t\n", m.NoTransaction, m.UsesEnv)
	for _, p := range []Program{m.Up, m.Down} {
		fmt.Fprintf(sum, "%d statements\n", len(p.Statements))
		for _, s := range p.Statements {
			said := tokensOf(s.Text)
			fmt.Fprintf(sum, "%d %s\n", len(said), said)
		}
	}
	return "program:" + hex.EncodeToString(sum.Sum(nil))
}

// tokensOf is a statement without what the server passes over. Where a quote does not end, the rest is left as it is.
func tokensOf(sql string) string {
	tokens, open := sqltext.Lex(sql)
	var b strings.Builder
	end := 0
	for _, t := range tokens {
		if b.Len() > 0 && t.Start > end {
			b.WriteByte(' ')
		}
		b.WriteString(t.Text)
		end = t.Start + len(t.Text)
	}
	if open.What != "" {
		b.WriteString(sql[end:])
	}
	return b.String()
}
