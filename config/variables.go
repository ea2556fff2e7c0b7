package config

import (
	"os"
	"regexp"
	"slices"
	"strings"
)

const variablePrefix = "TENANTCTL_"

// ownVariables are those that are read, or given to commands that may call tenantctl in turn, and are no keys.
var ownVariables = []string{
	fileEnv, contextEnv, "TENANTCTL_SHELL_URL",
	"TENANTCTL_DSN", "TENANTCTL_SCHEMA", "TENANTCTL_DATABASE", "TENANTCTL_TENANT", "TENANTCTL_TENANT_ID", "TENANTCTL_ROLE",
	"TENANTCTL_WAVE", "TENANTCTL_WAVES", "TENANTCTL_CHANGED", "TENANTCTL_FAILED",
}

// familyShape are variables of sources of imports, of tests and of setup, whose names are not fixed.
var familyShape = regexp.MustCompile(`^TENANTCTL_(IMPORT|TEST|SETUP)_`)

// kubernetesShape are those that Kubernetes gives to pods beside a Service named tenantctl or tenantctl-NAME.
var kubernetesShape = regexp.MustCompile(`^TENANTCTL_(\w+_)?(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_\w+)?)?)$`)

// unknownVariables reports those that set nothing, which is what a misspelled key does too. None is a key's.
func unknownVariables() []Fault {
	var known []string
	for _, key := range keys {
		known = append(known, key.Env())
	}
	known = append(known, ownVariables[:2]...)
	var faults []Fault
	for _, variable := range os.Environ() {
		name, value, _ := strings.Cut(variable, "=")
		switch {
		case !strings.HasPrefix(name, variablePrefix), value == "", slices.Contains(known, name), slices.Contains(ownVariables, name):
		case familyShape.MatchString(name), kubernetesShape.MatchString(name):
		default:
			problem := "unknown variable; "
			if near := nearestOf(name[len(variablePrefix):], withoutPrefix(known)); near != "" {
				problem += "did you mean " + variablePrefix + near + "?"
			} else {
				problem += "tenantctl config view lists the keys, and a variable of your own needs a name that does not begin with TENANTCTL_"
			}
			faults = append(faults, Fault{Source: quoteKey(name), Problem: problem})
		}
	}
	slices.SortFunc(faults, func(a, b Fault) int { return strings.Compare(a.Source, b.Source) })
	return faults
}

func withoutPrefix(names []string) []string {
	short := make([]string, len(names))
	for i, name := range names {
		short[i] = strings.TrimPrefix(name, variablePrefix)
	}
	return short
}

// Variables gives every environment variable of tenantctl's own that is no key, with what it is for.
func Variables() [][2]string {
	return [][2]string{
		{fileEnv, "the configuration file, as --config"},
		{contextEnv, "the context of the file, as --context"},
	}
}
