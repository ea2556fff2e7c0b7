package config

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
)

// Fault is one thing wrong with the configuration and how to put it right.
type Fault struct {
	// Key is the dotted key, such as postgres.url; empty where the fault is the file's as a whole.
	Key string `json:"key,omitempty" yaml:"key,omitempty"`
	// Source is where the value came from: FILE:LINE, the environment variable, the flag; empty where there is none.
	Source string `json:"source,omitempty" yaml:"source,omitempty"`
	// Problem says what is wrong and the way out; it never holds a secret.
	Problem string `json:"problem" yaml:"problem"`
}

// String gives the fault as one line: key (source): problem.
func (f Fault) String() string {
	switch {
	case f.Key == "" && f.Source == "":
		return f.Problem
	case f.Key == "":
		return f.Source + ": " + f.Problem
	case f.Source == "":
		return f.Key + ": " + f.Problem
	default:
		return f.Key + " (" + f.Source + "): " + f.Problem
	}
}

// Faults is the error of a configuration that cannot be used: every fault found, those of the file first, in its order.
type Faults struct {
	Faults []Fault `json:"faults" yaml:"faults"`
}

// Error is one line for a single fault, else a heading and a line per fault.
func (f *Faults) Error() string {
	if len(f.Faults) == 1 {
		return f.Faults[0].String()
	}
	var text strings.Builder
	fmt.Fprintf(&text, "%d faults in the configuration:", len(f.Faults))
	for _, fault := range f.Faults {
		text.WriteString("\n  - " + fault.String())
	}
	return text.String()
}

// faultsError is nil where there are no faults.
func faultsError(faults []Fault) error {
	if len(faults) == 0 {
		return nil
	}
	return &Faults{Faults: faults}
}

var keyShape = regexp.MustCompile(`^[\w.<>-]{1,64}$`)

// quoteKey shows a key from the file, unless it has the looks of something else, perhaps a URL with its password.
func quoteKey(name string) string {
	if keyShape.MatchString(name) {
		return name
	}
	return hidden
}

// quote shows a value that is no secret by its key, unless it looks like a connection string put in the wrong place.
func quote(text string) string {
	const longest = 100
	if strings.ContainsAny(text, "@=") || strings.Contains(text, "://") {
		return hidden
	}
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "..."
	}
	return strconv.Quote(text)
}
