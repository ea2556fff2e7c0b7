package config

import (
	"fmt"
	"slices"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"
)

// Target is what a run works on. It holds no password.
type Target struct {
	Environment string `json:"name,omitempty"`
	Context     string `json:"context,omitempty"`
	Protected   bool   `json:"protected"`
	Postgres    string `json:"postgres,omitempty"` // hosts, port and database
	MongoDB     string `json:"mongodb,omitempty"`  // hosts
}

// Target says which environment, hosts and database the configuration leads to.
func (c *Config) Target() Target {
	t := Target{Environment: c.Environment, Context: c.context, Protected: c.Protected, Postgres: postgresTarget(c.Postgres.URL)}
	if c.NoSQL.Enabled {
		if parts := urlShape.FindStringSubmatch(c.NoSQL.URL.Reveal()); parts != nil {
			t.MongoDB = parts[4]
		}
	}
	return t
}

// postgresTarget asks the driver, which knows libpq's variables and services too.
func postgresTarget(url Secret) string {
	if url == "" {
		return ""
	}
	cfg, err := pgconn.ParseConfig(url.Reveal())
	if err != nil {
		return ""
	}
	hosts := []string{fmt.Sprintf("%s:%d", cfg.Host, cfg.Port)}
	for _, f := range cfg.Fallbacks {
		if host := fmt.Sprintf("%s:%d", f.Host, f.Port); !slices.Contains(hosts, host) {
			hosts = append(hosts, host)
		}
	}
	database := cfg.Database
	if database == "" { // as libpq has it
		database = cfg.User
	}
	return strings.Join(hosts, ",") + "/" + database
}

// Stores names the hosts and the database: "postgres db.example.com:5432/app, mongodb db.example.com:27017".
func (t Target) Stores() string {
	var parts []string
	if t.Postgres != "" {
		parts = append(parts, "postgres "+t.Postgres)
	}
	if t.MongoDB != "" {
		parts = append(parts, "mongodb "+t.MongoDB)
	}
	return strings.Join(parts, ", ")
}

// Name is the environment with its protection, empty where it has no name.
func (t Target) Name() string {
	if t.Protected {
		return t.Environment + " (protected)"
	}
	return t.Environment
}

// Short names the environment, the host and the database of PostgreSQL, for a prompt.
func (t Target) Short() string {
	return strings.Trim(t.Environment+", "+t.Postgres, ", ")
}

// Overrides tells of each variable that stands in place of what the file says, which is easily forgotten.
func (c *Config) Overrides() []string { return slices.Clone(c.overrides) }
