package cmd

import (
	"encoding/json"
	"io"
	"log/slog"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/tenantctl/tenantctl/config"
	"github.com/tenantctl/tenantctl/tenant"
)

// announce says what the run works on: in the first line at a terminal, and whoever reads, what overrides the file.
func (a *app) announce(cfg *config.Config) {
	if a.completing || a.showsConfig() {
		return
	}
	if t := cfg.Target(); isTerminal(a.errOut) && t.Stores() != "" && !a.quiet {
		a.tell(slog.LevelInfo, "target: "+strings.TrimPrefix(a.environment(t)+", "+t.Stores(), ", "), "target: "+strings.TrimPrefix(t.Name()+", "+t.Stores(), ", "))
	}
	for _, text := range cfg.Overrides() {
		a.warnOnce(text)
	}
}

// showsConfig tells the commands that show where each value comes from.
func (a *app) showsConfig() bool { return a.cmd.HasParent() && a.cmd.Parent().Name() == "config" }

// environment is the name of a target, in the colour of its danger; empty where it has none.
func (a *app) environment(t config.Target) string {
	switch {
	case t.Environment == "":
		return ""
	case t.Protected:
		return a.paint(red, t.Name())
	}
	return a.paint(green, t.Name())
}

// checkConfirmed refuses a run whose --confirm names another environment than the one it would work on.
func (a *app) checkConfirmed(cfg *config.Config) error {
	switch {
	case a.confirmed == "" || a.confirmed == cfg.Environment:
		return nil
	case cfg.Environment == "":
		return tenant.Invalid("set environment in the configuration, or leave --confirm out", "--confirm names %s, and the environment has no name here", a.confirmed)
	}
	return tenant.Invalid("choose it by --context, or correct --confirm", "the environment is %s, and --confirm names %s", cfg.Environment, a.confirmed)
}

// guard asks for the name of a protected environment before what, which destroys or changes several tenants.
func (a *app) guard(what string) error {
	cfg, err := a.config()
	if err != nil || !cfg.Protected || a.confirmed == cfg.Environment {
		return err
	}
	if !isTerminal(a.in) {
		return tenant.Invalid("add --confirm "+cfg.Environment+" where that is meant", "%s, and %s is protected", what, cfg.Environment)
	}
	q := question{text: strings.ToUpper(what[:1]) + what[1:] + ", and the environment is protected.", answer: cfg.Environment}
	typed, err := a.typed(q, "to go on")
	if err == nil {
		err = q.judge(typed)
	}
	if err == nil {
		a.confirmed = cfg.Environment
	}
	return err
}

// guardMany is guard for a command that works on a selection: one tenant by its name goes without.
func (a *app) guardMany(names []string, verb string) error {
	if len(names) == 1 {
		return nil
	}
	which := "tenants"
	if len(names) > 1 {
		which = tenant.Plural(len(names), "tenant")
	}
	return a.guard("this would " + verb + " " + which)
}

// printReport is print for a document of what was done or found: the environment is a field of it.
func (a *app) printReport(doc any, name string, show func(w io.Writer)) error {
	if a.format != formatJSON && a.format != formatYAML {
		return a.print(doc, name, show)
	}
	with, err := withEnvironment(doc, a.cfg.Target())
	if err != nil {
		return writing(err)
	}
	if a.format == formatJSON {
		return a.printJSON(json.RawMessage(with))
	}
	b, err := yaml.JSONToYAML(with)
	if err != nil {
		return writing(err)
	}
	_, err = a.out.Write(b)
	return writing(err)
}

// withEnvironment is a document, one JSON object, with the environment as its last field.
func withEnvironment(doc any, t config.Target) ([]byte, error) {
	object, err := marshal(doc)
	if err != nil {
		return nil, err
	}
	target, err := marshal(t)
	if err != nil {
		return nil, err
	}
	end := len(object) - 1
	separator := ","
	if end == 1 {
		separator = ""
	}
	return []byte(string(object[:end]) + separator + `"environment":` + string(target) + "}"), nil
}

// named is a result of a list or of one tenant with the field environment, where the environment has a name: scripts that know
// no names find the fields that they know, and no others.
func (a *app) named(doc any) any {
	if a.cfg == nil || a.cfg.Environment == "" || a.showsConfig() {
		return doc
	}
	object, err := marshal(doc)
	if err != nil || len(object) == 0 || object[0] != '{' {
		return doc
	}
	var fields map[string]json.RawMessage
	if err := json.Unmarshal(object, &fields); err != nil || fields["environment"] != nil {
		return doc
	}
	if a.target == nil {
		t := a.cfg.Target()
		a.target = &t
	}
	with, err := withEnvironment(json.RawMessage(object), *a.target)
	if err != nil {
		return doc
	}
	return json.RawMessage(with)
}

// marshal is one line of JSON as printJSON writes it: < stays <.
func marshal(v any) ([]byte, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return []byte(strings.TrimSpace(b.String())), err
}
