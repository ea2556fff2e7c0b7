package stack_test

import (
	"maps"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	yamlv3 "go.yaml.in/yaml/v3"
)

// names lists what a file asks for, each once.
func names(t *testing.T, file, pattern string) []string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, m := range regexp.MustCompile(pattern).FindAllStringSubmatch(string(text), -1) {
		found = append(found, m[1])
	}
	slices.Sort(found)
	return slices.Compact(found)
}

// There is no Docker here to run it.
func TestComposeSetsWhatConfigurationAndApplicationRead(t *testing.T) {
	text, err := os.ReadFile("compose.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var compose struct {
		Services map[string]struct {
			Environment map[string]string
			Volumes     []string
			Secrets     []string
		}
		Secrets map[string]struct{ File string }
	}
	if err := yamlv3.Unmarshal(text, &compose); err != nil {
		t.Fatal(err)
	}
	nginx := slices.Sorted(maps.Keys(compose.Services["nginx"].Environment))
	if want := names(t, "nginx.conf.template", `\$\{(\w+)\}`); !slices.Equal(nginx, want) {
		t.Errorf("nginx is given %q, its template asks for %q", nginx, want)
	}
	app := slices.Sorted(maps.Keys(compose.Services["app-1"].Environment))
	if want := names(t, "app/shop/settings.py", `os\.environ\["(\w+)"\]`); !slices.Equal(app, want) {
		t.Errorf("the application is given %q and reads %q", app, want)
	}
	for name, service := range compose.Services {
		for variable, value := range service.Environment {
			secret, is := strings.CutPrefix(value, "/run/secrets/")
			if _, known := compose.Secrets[secret]; is && (!known || !slices.Contains(service.Secrets, secret)) {
				t.Errorf("%s: %s names a secret that it is not given: %s", name, variable, value)
			}
		}
	}
	if len(compose.Services) == 0 || len(nginx) == 0 || len(app) == 0 {
		t.Error("nothing was compared")
	}
}
