package config

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
)

func TestMasksConnectionStrings(t *testing.T) {
	cases := []struct{ raw, want string }{
		{"", ""},
		{"postgres://u:hunter2@h:5432/db?sslmode=require", "postgres://u:xxxxx@h:5432/db?sslmode=require"},
		{"postgres://u@h/db", "postgres://u@h/db"},
		{"postgres://u:@h/db", "postgres://u:xxxxx@h/db"},
		{"postgres://h/db?user=u&password=hunter2", "postgres://h/db?user=u&password=xxxxx"},
		{"postgres://h/db?PASSWORD=hunter2&sslpassword=hunter2", "postgres://h/db?PASSWORD=xxxxx&sslpassword=xxxxx"},
		{"postgres://h/db?pass%77ord=hunter2", "postgres://h/db?xxxxx=xxxxx"},
		{"postgres://h/db?pasword=hunter2", "postgres://h/db?xxxxx=xxxxx"},
		{"postgres://h/db?password=a&hunter2", "postgres://h/db?password=xxxxx&xxxxx=xxxxx"},
		{"postgres://h/db?host=u:hunter2%40h", "postgres://h/db?host=xxxxx"},
		{"postgres:///db?host=/run/postgresql", "postgres:///db?host=/run/postgresql"},
		{"mongodb://u:hunter2@h1:27017,[::1]:27018/db?replicaSet=rs", "mongodb://u:xxxxx@h1:27017,[::1]:27018/db?replicaSet=rs"},
		{"mongodb+srv://u:hunter2@h/?authMechanismProperties=AWS_SESSION_TOKEN:hunter2", "mongodb+srv://u:xxxxx@h/?authMechanismProperties=xxxxx"},
		{"mongodb://h/?tls=true&tlsCertificateKeyFilePassword=hunter2", "mongodb://h/?tls=true&tlsCertificateKeyFilePassword=xxxxx"},
		{"host=h user=u password=hunter2", "host=h user=u password=xxxxx"},
		{`password='hunter2 \' x' host='h'`, "password=xxxxx host='h'"},
		{"password = hunter2\nhost = h", "password=xxxxx host=h"},
		{`password=a\ hunter2 host=h`, "password=xxxxx host=h"},
		{"user= password=hunter2", "user=xxxxx"},
		{"host=postgres://u:hunter2@h", "host=xxxxx"},
		{"secret=hunter2", "xxxxx=xxxxx"},

		{"hunter2", "xxxxx"},
		{"u:hunter2@h", "xxxxx"},
		{"postgres://u:hunter2", "xxxxx"},
		{"postgres://u:@hunter2@h", "xxxxx"},
		{"postgres://u:1/hunter2@h", "xxxxx"},
		{"postgres://u:1?hunter2@h", "xxxxx"},
		{"postgres://u:1#hunter2@h", "xxxxx"},
		{"postgres://h/db#hunter2", "xxxxx"},
		{"postgres://h/db?a=b;password=hunter2", "xxxxx"},
		{"password='hunter2", "xxxxx"},
		{"password='a'hunter2", "xxxxx"},
		{"user=a\vpassword=hunter2", "xxxxx"},
		{"host='\x1b[2J'", "xxxxx"},
		{"host=\x1b[2J", "xxxxx"},
		{"password=my hunter2", "xxxxx"},
		{"\x00\xff", "xxxxx"},
	}
	for _, c := range cases {
		if got := MaskURL(c.raw); got != c.want {
			t.Errorf("%q: got %q, want %q", c.raw, got, c.want)
		}
	}
}

// FuzzMaskURLNeverLeaksPassword puts a password with hostile surroundings, escaped and not, wherever one can be.
func FuzzMaskURLNeverLeaksPassword(f *testing.F) {
	for _, seed := range [][2]string{
		{"", ""},
		{"@", ""},
		{"x@", "/y"},
		{"1/", ""},
		{"", "?a=b"},
		{"#", "#"},
		{":", ":"},
		{"%", "%4"},
		{"'", `\`},
		{`\'`, `' `},
		{"&user=", ""},
		{" host=", ""},
		{"://", "@"},
		{"[", "]"},
		{"\v", "\x00"},
		{"é\xff", ";"},
		{",", "\n"},
	} {
		f.Add(seed[0], seed[1])
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		const secret = "Hunter2"
		password := before + secret + after
		quoted := strings.NewReplacer(`\`, `\\`, "'", `\'`).Replace(password)
		for _, scheme := range []string{"postgres", "mongodb", "mongodb+srv"} {
			for _, raw := range []string{
				scheme + "://u:" + password + "@h/db",
				scheme + "://u:" + password + "@h1:1,h2:2/db?sslmode=require",
				scheme + "://:" + password + "@",
				scheme + "://u:" + url.QueryEscape(password) + "@h/db?tls=true",
				scheme + "://h/db?password=" + url.QueryEscape(password),
				scheme + "://u:x@h/?tls=true&tlsCertificateKeyFilePassword=" + url.QueryEscape(password) + "&w=1",
			} {
				if masked := MaskURL(raw); strings.Contains(masked, secret) {
					t.Errorf("%q is shown as %q", raw, masked)
				}
			}
		}
		for _, raw := range []string{
			"host=h password='" + quoted + "' user=u", "password='" + quoted + "'", "password = '" + quoted + "'\tsslpassword='" + quoted + "'",
		} {
			if masked := MaskURL(raw); strings.Contains(masked, secret) {
				t.Errorf("%q is shown as %q", raw, masked)
			}
		}
	})
}

func TestSecretMasksItselfWhateverPrintsIt(t *testing.T) {
	const raw = "postgres://u:hunter2@h/db"
	secret := Secret(raw)
	held := struct{ URL Secret }{secret}
	asJSON, err := json.Marshal(map[string]any{"a": held, "b": &secret})
	if err != nil {
		t.Fatal(err)
	}
	asYAML, err := yaml.Marshal(held)
	if err != nil {
		t.Fatal(err)
	}
	var log bytes.Buffer
	slog.New(slog.NewTextHandler(&log, nil)).Info("x", "url", secret, "held", held)
	slog.New(slog.NewJSONHandler(&log, nil)).Info("x", "url", secret, "held", held)
	shown := []string{secret.String(), secret.GoString(), string(asJSON), string(asYAML), log.String()}
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%x", "%X", "%d"} {
		shown = append(shown, fmt.Sprintf(verb, secret), fmt.Sprintf(verb, held), fmt.Sprintf(verb, []Secret{secret}))
	}
	for _, text := range shown {
		if !strings.Contains(text, "postgres://u:xxxxx@h/db") {
			t.Errorf("got %q", text)
		}
		if strings.Contains(text, "hunter2") {
			t.Errorf("shows the password: %q", text)
		}
	}
	if secret.Reveal() != raw {
		t.Errorf("reveals %q", secret.Reveal())
	}
}

func TestPlacesAndKeysOfBackupsAreShownWithoutTheirSecrets(t *testing.T) {
	for in, want := range map[string]string{
		"/srv/backups":                     "/srv/backups",
		"file:///srv/backups?prefix=a/":    "file:///srv/backups?prefix=a/",
		"s3://bucket?region=eu&prefix=a/":  "s3://bucket?region=eu&prefix=a/",
		"s3://AKIA:s3cret@bucket":          "s3://AKIA:xxxxx@bucket",
		"s3://bucket?aws_secret=s3cret":    "s3://bucket?aws_secret=xxxxx",
		"azblob://c?sig=s3cret&domain=x.y": "azblob://c?sig=xxxxx&domain=x.y",
		"s3://a:s3cret@b@bucket":           "s3://a:xxxxx@bucket",
		"s3://%zz:s3cret@bucket":           "xxxxx",
	} {
		got := maskPlace(in)
		if got != want || strings.Contains(got, "s3cret") {
			t.Errorf("%s is shown as %s, want %s", in, got, want)
		}
	}
	if got := maskKeys("age1abc, AGE-SECRET-KEY-1QQQ, age1def"); got != "age1abc, xxxxx, age1def" {
		t.Errorf("keys: %s", got)
	}
}
