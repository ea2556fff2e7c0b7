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
	fromEnv
	fromFlag
)

// origin is where a value came from: its level, and the file and line, variable or flag.
type origin struct {
	level level
	place string
}

func (o origin) String() string {
	return strings.TrimSpace([]string{"default", "file ", "env ", "flag "}[o.level] + o.place)
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
	v := viper.New()
	entries, err := resolve(v, file, options)
	if err != nil {
		return nil, err
	}
	faults = append(faults, readSecretFiles(entries)...)

	config := &Config{}
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
		if key.kind.path && e.from.level == fromFile && e.text != "" && !filepath.IsAbs(e.text) && !strings.Contains(e.text, "://") {
			e.text = filepath.Join(filepath.Dir(file.path), e.text)
		}
		entries = append(entries, e)
	}
	return entries, nil
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
