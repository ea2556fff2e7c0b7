package config

import (
	"strings"
	"testing"
)

func TestTakesConnectionStringsThatTheDriversTake(t *testing.T) {
	isolate(t)
	cases := map[string][]string{
		"TENANTCTL_POSTGRES_URL": {
			"postgres://u:hunter2@h:5432/db?sslmode=require", "postgresql://h", "postgres:///db?host=/run/postgresql",
			"postgres://u:hunter%402@h1,h2:5433/db?target_session_attrs=read-write", "postgres://u:hun:ter2@[::1]:5432/db",
			"host=h user=u password=hunter2", `host = h user = u password = 'hunter\'2 x'`, `user=u password=hunter\ 2`, " host=h\n",
			"postgres://u@h/db?password=hunter2&application_name=x&work_mem=64MB", "user=u password='://hunter2' host=h",
		},
		"TENANTCTL_NOSQL_URL": {
			"mongodb://h", "mongodb://u:hunter2@h:27017/?authSource=admin", "mongodb://h1:27017,h2:27018/?replicaSet=rs",
			"mongodb://u:hunter%402@h", "mongodb://%2Frun%2Fmongodb.sock/db", "mongodb://u:hunter2@[::1]:27017/db?w=majority&tls=true",
			"mongodb+srv://u:hunter2@cluster.invalid/?retryWrites=true", "mongodb+srv://cluster.invalid",
			"mongodb+srv://cluster.invalid/db?srvServiceName=other&srvMaxHosts=2",
		},
	}
	for env, urls := range cases {
		for _, url := range urls {
			t.Setenv(env, url)
			config, err := Load(Options{})
			if err != nil {
				t.Errorf("%s: %v", MaskURL(url), err)
				continue
			}
			if env == "TENANTCTL_POSTGRES_URL" && config.Postgres.URL.Reveal() != strings.TrimSpace(url) {
				t.Errorf("%s was changed", MaskURL(url))
			}
		}
		t.Setenv(env, "")
	}
}

func TestRefusesConnectionStringsWithoutShowingThePassword(t *testing.T) {
	const (
		escape = "cannot be read as a connection string; percent-encode special characters in the user and the password"
		pairs  = "is neither a postgres:// URL nor pairs such as"
	)
	cases := []struct{ env, url, want string }{
		{"TENANTCTL_POSTGRES_URL", "mysql://u:hunter2@h/db", "must begin with postgres://"},
		{"TENANTCTL_POSTGRES_URL", "Postgres://u:hunter2@h/db", "must begin with postgres://"},
		{"TENANTCTL_POSTGRES_URL", "u:hunter2@h/db", pairs},
		{"TENANTCTL_POSTGRES_URL", "hunter2", pairs},
		{"TENANTCTL_POSTGRES_URL", "user=u password='hunter2", pairs},
		{"TENANTCTL_POSTGRES_URL", "user=u password='it''hunter2'", pairs},
		{"TENANTCTL_POSTGRES_URL", "postgres://u:@hunter2@h/db", escape},
		{"TENANTCTL_POSTGRES_URL", "postgres://u:12/hunter2@h/db", escape},
		{"TENANTCTL_POSTGRES_URL", "postgres://u:1?hunter2@h/db", escape},
		{"TENANTCTL_POSTGRES_URL", "postgres://u:1#hunter2@h/db", escape},
		{"TENANTCTL_POSTGRES_URL", "postgres://u:hunter2", escape},
		{"TENANTCTL_POSTGRES_URL", "postgres://u:%hunter2@h/db", escape},
		{"TENANTCTL_POSTGRES_URL", "postgres://u:hunter2@h:99999/db", "is refused by the driver: invalid port"},
		{"TENANTCTL_POSTGRES_URL", "postgres://u:hunter2@h/db?sslmode=maybe", "is refused by the driver: failed to configure TLS (sslmode is invalid)"},
		{"TENANTCTL_POSTGRES_URL", "user=u password=hunter2 connect_timeout=soon", "is refused by the driver: invalid connect_timeout"},
		{"TENANTCTL_NOSQL_URL", "http://u:hunter2@h", "must begin with mongodb:// or mongodb+srv://"},
		{"TENANTCTL_NOSQL_URL", "u:hunter2@h", "must begin with mongodb:// or mongodb+srv://"},
		{"TENANTCTL_NOSQL_URL", "mongodb://u:@hunter2@h", escape},
		{"TENANTCTL_NOSQL_URL", "mongodb://u:1/hunter2@h", escape},
		{"TENANTCTL_NOSQL_URL", "mongodb://u:1:hunter2@h", escape},
		{"TENANTCTL_NOSQL_URL", "mongodb://u:%hunter2@h", escape},
		{"TENANTCTL_NOSQL_URL", "mongodb://", "is refused by the driver: error parsing uri: must have at least 1 host"},
		{"TENANTCTL_NOSQL_URL", "mongodb://u:hunter2@h:0", "is refused by the driver: error parsing uri: invalid host"},
		{"TENANTCTL_NOSQL_URL", "mongodb://u:hunter2@h/?tls=maybe", `is refused by the driver: error parsing uri: invalid value for "tls": "maybe"`},
		{"TENANTCTL_NOSQL_URL", "mongodb://u:hunter2@h/?w=0&journal=true", "is refused by the driver"},
		{"TENANTCTL_NOSQL_URL", "mongodb://u:hunter2@h1,h2/?directConnection=true", "is refused by the driver"},
		{"TENANTCTL_NOSQL_URL", "mongodb://h/?srvMaxHosts=2", "is refused by the driver: error parsing uri: cannot specify srvMaxHosts on non-SRV URI"},
		{"TENANTCTL_NOSQL_URL", "mongodb+srv://u:hunter2@h:27017", "a mongodb+srv:// URL names one host, without a port"},
		{"TENANTCTL_NOSQL_URL", "mongodb+srv://u:hunter2@h1,h2", "a mongodb+srv:// URL names one host, without a port"},
		{"TENANTCTL_NOSQL_URL", "mongodb+srv://u:hunter2@h/?tls=maybe", `is refused by the driver: error parsing uri: invalid value for "tls": "maybe"`},
	}
	for _, c := range cases {
		t.Run(c.url, func(t *testing.T) {
			isolate(t)
			t.Setenv(c.env, c.url)
			_, err := Load(Options{})
			if err == nil {
				t.Fatal("was taken")
			}
			if !strings.Contains(err.Error(), " ("+c.env+"): "+c.want) {
				t.Errorf("got %v, want %s", err, c.want)
			}
			if strings.Contains(err.Error(), "hunter2") {
				t.Errorf("shows the password: %v", err)
			}
		})
	}
}
