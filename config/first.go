package config

import (
	"fmt"
	"strings"

	"go.yaml.in/yaml/v3"
)

// First is what a first configuration file holds; empty fields are left out.
type First struct {
	Environment          string
	Protected            bool
	Postgres, PostgresIn string // the URL, or the file that holds it
	NoSQL, NoSQLIn       string
	NoMongoDB            bool
	Backup               string
}

// Check tells by a *Faults which of the values no configuration could hold. It never shows a secret.
func (f First) Check() error {
	var faults []Fault
	for _, value := range []struct{ key, text string }{
		{"environment", f.Environment}, {"postgres.url", f.Postgres}, {"nosql.url", f.NoSQL}, {"backup.url", f.Backup},
	} {
		if err := CheckValue(value.key, value.text); err != nil {
			faults = append(faults, Fault{Key: value.key, Problem: err.Error()})
		}
	}
	if f.Protected && f.Environment == "" {
		faults = append(faults, Fault{Key: "protected", Problem: "needs the environment's name, which is asked for"})
	}
	for _, pair := range [][3]string{{"postgres.url", f.Postgres, f.PostgresIn}, {"nosql.url", f.NoSQL, f.NoSQLIn}} {
		if pair[1] != "" && pair[2] != "" {
			faults = append(faults, Fault{Key: pair[0], Problem: "is given itself and as a file; keep one of the two"})
		}
	}
	if f.NoMongoDB && f.NoSQL+f.NoSQLIn != "" {
		faults = append(faults, Fault{Key: "nosql.enabled", Problem: "is false, and a URL of MongoDB is given; keep one of the two"})
	}
	return faultsError(faults)
}

// CheckValue tells why a key cannot have a value.
func CheckValue(name, text string) error {
	for _, key := range keys {
		if key.Name == name && text != "" {
			_, err := key.kind.parse(text)
			return err
		}
	}
	return nil
}

// HoldsPassword tells whether the file must be read by its owner alone.
func (f First) HoldsPassword() bool {
	return MaskURL(f.Postgres) != f.Postgres || MaskURL(f.NoSQL) != f.NoSQL || maskPlace(f.Backup) != f.Backup
}

// Masked is the same without its passwords, to be shown.
func (f First) Masked() First {
	f.Postgres, f.NoSQL, f.Backup = MaskURL(f.Postgres), MaskURL(f.NoSQL), maskPlace(f.Backup)
	return f
}

// YAML is the text of the file.
func (f First) YAML() (string, error) {
	var b strings.Builder
	b.WriteString("# The configuration of tenantctl. All keys: tenantctl help environment, and docs/reference/configuration.md\n")
	var failed error
	line := func(indent, key, value string) {
		text, err := yaml.Marshal(value)
		if err != nil {
			failed = err
		}
		fmt.Fprintf(&b, "%s%s: %s", indent, key, text)
	}
	if f.Environment != "" {
		line("", "environment", f.Environment)
	}
	if f.Protected {
		b.WriteString("protected: true\n")
	}
	section := func(name string, pairs ...[2]string) {
		head := "\n" + name + ":\n"
		for _, p := range pairs {
			if p[1] != "" {
				b.WriteString(head)
				head = ""
				line("  ", p[0], p[1])
			}
		}
	}
	section("postgres", [2]string{"url", f.Postgres}, [2]string{"url_file", f.PostgresIn})
	section("nosql", [2]string{"url", f.NoSQL}, [2]string{"url_file", f.NoSQLIn})
	if f.NoMongoDB {
		b.WriteString("\nnosql:\n  enabled: false\n")
	}
	section("backup", [2]string{"url", f.Backup})
	return b.String(), failed
}

// FileFor is where config init writes: the file that is asked for, or tenantctl.yaml in the working folder. above is a
// file that was in force until then; empty where there is none.
func FileFor(options Options) (path, above string) {
	if options.File != "" {
		return options.File, ""
	}
	f := newFile()
	if _, fault := f.find(""); fault == nil && f.path != fileName {
		above = f.path
	}
	return fileName, above
}
