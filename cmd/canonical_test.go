package cmd_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// canonical writes a JSON document so that two runs give the same text: what differs from run to run (ids, times,
// durations, sizes, ports, passwords) is replaced by its kind, and keys are sorted. Names of fields are left alone.
type canonical struct {
	prefix string
	ids    map[string]string
}

func (c *canonical) document(text string) (string, error) {
	var doc any
	d := json.NewDecoder(strings.NewReader(text))
	d.UseNumber()
	if err := d.Decode(&doc); err != nil {
		return "", fmt.Errorf("it is not JSON: %w", err)
	}
	if d.More() {
		return "", fmt.Errorf("it is more than one JSON document")
	}
	b, err := json.MarshalIndent(c.value("", doc), "", "  ")
	return strings.NewReplacer(`\u003c`, "<", `\u003e`, ">", `\u0026`, "&").Replace(string(b)) + "\n", err
}

// varying are the fields whose numbers differ from run to run.
var varying = regexp.MustCompile(`^(duration_ms|bytes|size|port)$|_ms$`)

func (c *canonical) value(key string, v any) any {
	switch v := v.(type) {
	case map[string]any:
		if _, stores := v["postgres"].(string); key == "environment" && stores {
			return "TARGET" // hosts and databases are the servers' of this run
		}
		for _, k := range slices.Sorted(maps.Keys(v)) { // in order, since ids are counted
			v[k] = c.value(k, v[k])
		}
	case []any:
		for i := range v {
			v[i] = c.value(key, v[i])
		}
	case json.Number:
		if varying.MatchString(key) {
			return "NUMBER"
		}
	case string:
		if key == "password" && v != "" {
			return "PASSWORD"
		}
		return c.text(v)
	}
	return v
}

var (
	inDSN       = regexp.MustCompile(`://([^:/@]+):[^@]+@`)
	loopback    = regexp.MustCompile(`(127\.0\.0\.1|localhost|\[::1\]):\d+`)
	process     = regexp.MustCompile(`pid \d+ on [\w.-]+`)
	goOn        = regexp.MustCompile(`--(resume|retry-failed) [0-9a-f]{12}\b`)
	fingerprint = regexp.MustCompile(`^[0-9a-f]{12}$`)
)

func (c *canonical) text(s string) string {
	s = anyUUID.ReplaceAllStringFunc(s, func(id string) string {
		if _, known := c.ids[id]; !known {
			c.ids[id] = fmt.Sprintf("ID-%d", len(c.ids)+1)
		}
		return c.ids[id]
	})
	s = anyTime.ReplaceAllString(s, "TIME")
	s = inDSN.ReplaceAllString(s, "://$1:PASSWORD@")
	s = loopback.ReplaceAllString(s, "$1:PORT")
	s = process.ReplaceAllString(s, "pid N on HOST")
	s = goOn.ReplaceAllString(s, "--$1 ID")
	if fingerprint.MatchString(s) {
		return "FINGERPRINT"
	}
	return strings.ReplaceAll(s, c.prefix, "PREFIX_")
}

func TestCanonicalKeepsNamesAndHidesWhatVaries(t *testing.T) {
	c := canonical{prefix: "t12ab34cd_", ids: map[string]string{}}
	got, err := c.document(`{"run": "0199aa3f-1111-7111-8111-111111111111", "a": ["0199aa3f-1111-7111-8111-111111111111", "0199aa3f-2222-7111-8111-111111111111"],
		"duration_ms": 12, "versions": {"postgres": 7}, "schema": "t12ab34cd_acme", "dsn": "postgres://u:p@127.0.0.1:5432/x", "created_at": "2026-11-23T02:31:00.413028Z"}`)
	if err != nil {
		t.Fatal(err)
	}
	want := `{"a":["ID-1","ID-2"],"created_at":"TIME","dsn":"postgres://u:PASSWORD@127.0.0.1:PORT/x","duration_ms":"NUMBER","run":"ID-1","schema":"PREFIX_acme","versions":{"postgres":7}}`
	if flat := strings.NewReplacer("\n", "", "  ", "", `": `, `":`).Replace(got); flat != want {
		t.Errorf("got  %s\nwant %s", flat, want)
	}
	if _, err := c.document(`{} {}`); err == nil {
		t.Error("two documents pass for one")
	}
}
