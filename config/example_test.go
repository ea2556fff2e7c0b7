package config

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// signingKey is a key as openssl rand -base64 32 makes one.
const signingKey = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="

const exampleFile = "../tenantctl.yaml.example"

func readExample(t *testing.T) string {
	t.Helper()
	content, err := os.ReadFile(exampleFile)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

func TestExampleLoadsAsItIsAndLeavesDefaultsInForce(t *testing.T) {
	example := readExample(t)
	isolate(t)
	write(t, "tenantctl.yaml", example)
	config := load(t, Options{})
	if err := config.RequireStores(); err != nil {
		t.Error(err)
	}
	for _, s := range config.Settings() {
		if set := s.Source != "default"; set != (s.Secret && s.Key != "postgres.direct_url" && s.Key != "backup.signing_key" && s.Key != "resolve.assertion_key" && s.Key != "resolve.redis_url") {
			t.Errorf("%s is from %s", s.Key, s.Source)
		}
	}
}

func TestExampleCoversEveryKeyWithItsDefault(t *testing.T) {
	example := readExample(t)
	isolate(t)
	commented := regexp.MustCompile(`(?m)^( *)#([a-z_]+:)`)
	f := newFile()
	f.path = exampleFile
	f.parse([]byte(commented.ReplaceAllString(example, "$1$2")))
	for _, fault := range f.faults {
		t.Error(fault)
	}
	for _, key := range Keys() {
		value, covered := f.values[key.Name]
		if !covered {
			t.Errorf("%s is missing", key.Name)
		} else if value != key.Default && !key.Secret && key.holds == "" {
			t.Errorf("%s is shown as %v; its default is %s", key.Name, value, key.Default)
		}
		if key.Flag != "" && !strings.Contains(example, "Flag: --"+key.Flag+"\n") {
			t.Errorf("--%s is not mentioned", key.Flag)
		}
	}
}

func TestExampleValuesOfUncommentedFileLoad(t *testing.T) {
	example := readExample(t)
	isolate(t)
	active := regexp.MustCompile(`(?m)^  (url|#direct_url|#signing_key|#assertion_key|#redis_url): .*$`)
	commented := regexp.MustCompile(`(?m)^( *)#([a-z_]+:)`)
	write(t, "tenantctl.yaml", commented.ReplaceAllString(active.ReplaceAllString(example, ""), "$1$2"))
	write(t, "secrets/postgres-url", "postgres://u:pw@h/db")
	write(t, "secrets/postgres-direct-url", "postgres://u:pw@h2/db")
	write(t, "secrets/mongodb-url", "mongodb://u:pw@h/db")
	write(t, "secrets/assertion-key", signingKey+"\n")
	write(t, "secrets/redis-url", "redis://u:pw@h:6379/0\n")
	write(t, "secrets/backup-signing-key", signingKey+"\n"+signingKey+"\n")
	config := load(t, Options{})
	if keys := config.Backup.SigningKey.Reveal(); keys != signingKey+","+signingKey {
		t.Errorf("the keys are %q", keys)
	}
	if config.Postgres.URLFile != "secrets/postgres-url" || config.Postgres.DirectURLFile != "secrets/postgres-direct-url" || config.NoSQL.URLFile != "secrets/mongodb-url" {
		t.Errorf("got %+v", config)
	}
}
