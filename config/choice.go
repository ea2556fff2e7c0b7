package config

import (
	"errors"
	"io/fs"
	"maps"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v3"
)

// choiceFile is $XDG_STATE_HOME/tenantctl/contexts.yaml: which context this person chose for which configuration file.
// The configuration file itself, which may be under version control, stays as it is. Empty where no home is known.
func choiceFile() string {
	state := os.Getenv("XDG_STATE_HOME")
	if !filepath.IsAbs(state) {
		home, err := os.UserHomeDir()
		if err != nil {
			return ""
		}
		state = filepath.Join(home, ".local", "state")
	}
	return filepath.Join(state, "tenantctl", "contexts.yaml")
}

// identity is a file by its one name, whatever folder or link it was found by.
func identity(path string) string {
	if abs, err := filepath.Abs(path); err == nil {
		path = abs
	}
	if real, err := filepath.EvalSymlinks(path); err == nil {
		path = real
	}
	return path
}

func readChoices() (map[string]string, error) {
	file := choiceFile()
	if file == "" {
		return map[string]string{}, nil
	}
	content, err := readBounded(file)
	if errors.Is(err, fs.ErrNotExist) {
		return map[string]string{}, nil
	}
	choices := map[string]string{}
	if err == nil && yaml.Unmarshal(content, &choices) != nil {
		err = errors.New("it is not a list of files and contexts")
	}
	return choices, err
}

// chosenContext is what use-context was told for a file.
func chosenContext(path string) (string, *Fault) {
	if path == "" {
		return "", nil
	}
	choices, err := readChoices()
	if err != nil {
		return "", &Fault{Source: choiceFile(), Problem: "the choice of config use-context cannot be read: " + err.Error() +
			"; remove the file, or name a context by --context"}
	}
	return choices[identity(path)], nil
}

// chooseContext writes a choice, beside and then in place of the older ones; it forgets files that are no longer there.
func chooseContext(path, name string) error {
	file := choiceFile()
	if file == "" {
		return errors.New("no home folder is known; set TENANTCTL_CONTEXT instead")
	}
	choices, err := readChoices()
	if err != nil {
		return err
	}
	choices[identity(path)] = name
	maps.DeleteFunc(choices, func(path, name string) bool {
		_, err := os.Stat(path)
		return name == "" || errors.Is(err, fs.ErrNotExist)
	})
	content, err := yaml.Marshal(choices)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(filepath.Dir(file), ".contexts-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(tmp.Name()) }()
	_, err = tmp.Write(content)
	if err = errors.Join(err, tmp.Close()); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), file)
}
