package config

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/spf13/viper"
)

type level int

const (
	fromDefault level = iota
	fromFile
	fromContext // a context of the file
	fromEnv
	fromFlag
)

// origin is where a value came from: its level, and the file and line, variable or flag.
type origin struct {
	level level
	place string
}

func (o origin) String() string {
	return strings.TrimSpace([]string{"default", "file ", "file ", "env ", "flag "}[o.level] + o.place)
}

// entry is a key with its text in force, before it is parsed.
type entry struct {
	key  Key
	text string
	from origin
	note string
}

// Load reads the configuration. Its error is a *Faults with everything that is wrong, which never shows a secret.
func Load(options Options) (*Config, error) {
	file, faults := readFile(options.File)
	faults = append(faults, file.use(options.Context)...)
	faults = append(faults, unknownVariables()...)
	v := viper.New()
	entries, err := resolve(v, file, options)
	if err != nil {
		return nil, err
	}
	faults = append(faults, readSecretFiles(entries)...)

	config := &Config{File: file.path, context: file.selection.name}
	if config.context == "" {
		config.contexts = file.names()
	}
	for _, e := range entries {
		value, err := e.key.kind.parse(e.text)
		if err != nil {
			faults = append(faults, Fault{Key: e.key.Name, Source: e.from.place, Problem: err.Error()})
			continue
		}
		v.Set(e.key.Name, value)
		config.settings = append(config.settings, Setting{
			Key: e.key.Name, Value: e.shown(value), Source: e.from.String() + e.note, Secret: e.key.Secret,
		})
	}
	if err := faultsError(faults); err != nil {
		return nil, err
	}
	if err := v.UnmarshalExact(config); err != nil {
		return nil, fmt.Errorf("fill the configuration: %w", err)
	}
	config.overrides = overrides(&file, entries)
	if err := faultsError(protectionFaults(config, &file, entries)); err != nil {
		return nil, err
	}
	return config, nil
}

// resolve lets viper find the text in force of every key.
func resolve(v *viper.Viper, file file, options Options) ([]*entry, error) {
	if err := v.MergeConfigMap(file.values); err != nil {
		return nil, fmt.Errorf("merge the configuration file: %w", err)
	}
	entries := make([]*entry, 0, len(keys))
	for _, key := range keys {
		v.SetDefault(key.Name, key.Default)
		if err := v.BindEnv(key.Name, key.Env()); err != nil {
			return nil, fmt.Errorf("bind %s: %w", key.Env(), err)
		}
		e := &entry{key: key}
		if line, set := file.lines[key.Name]; set {
			e.from = origin{fromFile, file.at(line)}
			if _, over := file.overlaid[key.Name]; over {
				e.from.level = fromContext
			}
		}
		if os.Getenv(key.Env()) != "" {
			e.from = origin{fromEnv, key.Env()}
		}
		if key.Flag != "" && options.Flags != nil {
			if flag := options.Flags.Lookup(key.Flag); flag != nil && flag.Changed {
				e.from = origin{fromFlag, "--" + key.Flag}
				if err := v.BindPFlag(key.Name, flag); err != nil {
					return nil, fmt.Errorf("bind --%s: %w", key.Flag, err)
				}
			}
		}
		e.text = v.GetString(key.Name)
		if key.kind.path && e.from.level < fromEnv && e.text != "" && file.path != "" && !filepath.IsAbs(e.text) && !strings.Contains(e.text, "://") {
			e.text = filepath.Join(filepath.Dir(file.path), e.text)
		}
		entries = append(entries, e)
	}
	return entries, nil
}

// overrides tells of variables that win over another value in the file.
func overrides(file *file, entries []*entry) []string {
	var told []string
	if over := file.selection.over; over != "" {
		told = append(told, fmt.Sprintf("%s chooses the context %s over %s", contextEnv, file.selection.name, over))
	}
	for _, e := range entries {
		if e.from.level != fromEnv {
			continue
		}
		for _, key := range keys {
			same := key.Name == e.key.Name || key.holds == e.key.Name || key.Name == e.key.holds
			if text, set := file.values[key.Name]; set && same && text != "" && (key.Name != e.key.Name || text != e.text) {
				told = append(told, fmt.Sprintf("%s overrides %s of %s", e.from.place, key.Name, file.at(file.lines[key.Name])))
			}
		}
	}
	return told
}

// protectionFaults holds a protected environment to a name, and keeps variables from lifting what the file protects.
func protectionFaults(c *Config, file *file, entries []*entry) []Fault {
	var faults []Fault
	isProtected := c.Protected
	if text, set := file.values["protected"].(string); set && strings.EqualFold(text, "true") {
		isProtected = true
		for _, e := range entries {
			text, set := file.values[e.key.Name]
			if (e.key.Name == "protected" || e.key.Name == "environment" && set) && e.from.level == fromEnv && e.text != text {
				faults = append(faults, Fault{Key: e.key.Name, Source: e.from.place, Problem: fmt.Sprintf(
					"%s protects this environment, and a variable cannot change that; unset it", file.at(file.lines["protected"]),
				)})
			}
		}
	}
	if isProtected && c.Environment == "" {
		faults = append(faults, Fault{Key: "protected", Problem: "needs the name that is asked for; set environment too, such as environment: production"})
	}
	return faults
}

// readSecretFiles fills the secrets that are kept in files, where no source of higher precedence gives them directly.
func readSecretFiles(entries []*entry) []Fault {
	byName := make(map[string]*entry, len(entries))
	for _, e := range entries {
		byName[e.key.Name] = e
	}
	var faults []Fault
	for _, e := range entries {
		direct := byName[e.key.holds]
		if direct == nil || e.text == "" {
			continue
		}
		if direct.text != "" && direct.from.level == e.from.level {
			faults = append(faults, Fault{Key: e.key.Name, Source: e.from.place, Problem: fmt.Sprintf(
				"%s is set as well (%s); keep one of the two", direct.key.Name, direct.from.place,
			)})
			continue
		}
		if direct.text != "" && direct.from.level > e.from.level {
			e.text, e.note = "", ", overridden by "+direct.from.String()
			continue
		}
		content, err := readBounded(e.text)
		text := strings.TrimSpace(string(content))
		if err == nil && text == "" {
			err = errEmpty
		}
		if err != nil {
			problem := fmt.Sprintf("cannot read %s: %v; it should be a file that holds %s", quote(e.text), err, direct.key.Name)
			faults = append(faults, Fault{Key: e.key.Name, Source: e.from.place, Problem: problem})
		}
		direct.text, direct.from = text, origin{fromFile, e.text}
	}
	return faults
}

// shown is the value for a Setting: durations and levels as they were written.
func (e *entry) shown(value any) any {
	switch value := value.(type) {
	case string:
		if e.key.mask != nil {
			return e.key.mask(value)
		}
		return value
	case bool, int:
		return value
	case Secret:
		return value.String()
	default:
		return e.text
	}
}

// at names a line of the file.
func (f file) at(line int) string { return f.path + ":" + strconv.Itoa(line) }
