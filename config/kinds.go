package config

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"

	"github.com/dustin/go-humanize"
)

// kind is what the value of a key may be. Every source gives text; parse makes the typed value of it.
type kind struct {
	expects string // completes "... is not", and stands in the documentation
	path    bool   // relative to the folder of the file that sets it, unless it is a URL
	parse   func(text string) (any, error)
}

// shaped is a kind whose fault can show the text and say what was expected.
func shaped(expects string, parse func(text string) (value any, ok bool)) kind {
	return kind{expects: expects, parse: func(text string) (any, error) {
		value, ok := parse(text)
		if !ok {
			return nil, fmt.Errorf("%s is not %s", quote(text), expects)
		}
		return value, nil
	}}
}

func anyText() kind {
	return shaped("a text", func(text string) (any, bool) { return text, true })
}

func lineOfText() kind {
	return shaped("a line of text without control characters", func(text string) (any, bool) { return text, !strings.ContainsFunc(text, unicode.IsControl) })
}

// environmentName is what an environment or a context may be called.
var environmentName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,62}$`)

const environmentShape = "at most 63 letters, digits and . _ -, a letter or digit first"

func environment() kind {
	return shaped("a name of "+environmentShape, func(text string) (any, bool) {
		return text, text == "" || environmentName.MatchString(text)
	})
}

func boolean() kind {
	return shaped("true or false", func(text string) (any, bool) {
		return strings.EqualFold(text, "true"), strings.EqualFold(text, "true") || strings.EqualFold(text, "false")
	})
}

func oneOf(names ...string) kind {
	return shaped("one of "+strings.Join(names, ", "), func(text string) (any, bool) {
		return text, slices.Contains(names, text)
	})
}

func logLevel() kind {
	names := oneOf("debug", "info", "warn", "error")
	return shaped(names.expects, func(text string) (any, bool) {
		var level slog.Level
		_, err := names.parse(text)
		return level, err == nil && level.UnmarshalText([]byte(text)) == nil
	})
}

func wholeFrom(least int) kind {
	return shaped(fmt.Sprintf("a whole number of at least %d", least), func(text string) (any, bool) {
		n, err := strconv.Atoi(text)
		return n, err == nil && n >= least
	})
}

func wholeBetween(least, most int) kind {
	return shaped(fmt.Sprintf("a whole number from %d to %d", least, most), func(text string) (any, bool) {
		n, err := strconv.Atoi(text)
		return n, err == nil && n >= least && n <= most
	})
}

// size is a number of bytes; 0 is no limit.
func size() kind {
	return shaped("0 (no limit) or a size such as 64MB", func(text string) (any, bool) {
		n, err := humanize.ParseBytes(text)
		return int64(n), err == nil && n <= math.MaxInt64
	})
}

const durationHint = " (a number and its unit, such as 500ms, 5s, 2h or 30d)"

func durationFrom(least time.Duration) kind {
	return shaped(fmt.Sprintf("a duration of at least %v", least)+durationHint, func(text string) (any, bool) {
		d, ok := parseDuration(text)
		return d, ok && d >= least
	})
}

// serverTimeout is a duration that PostgreSQL takes: it counts whole milliseconds in 32 bits, and 0 lifts the limit.
func serverTimeout(zeroIsNoLimit bool) kind {
	const most = 24 * 24 * time.Hour
	expects := "a duration from 1ms to 24d" + durationHint
	if zeroIsNoLimit {
		expects = "0 (no limit) or " + expects
	}
	return shaped(expects, func(text string) (any, bool) {
		d, ok := parseDuration(text)
		return d, ok && (d >= time.Millisecond && d <= most || zeroIsNoLimit && d == 0)
	})
}

// parseDuration reads Go's syntax, with whole days before it: 30d, 1d12h.
func parseDuration(text string) (time.Duration, bool) {
	const mostDays = 36500
	var before time.Duration
	if days, rest, found := strings.Cut(text, "d"); found {
		n, err := strconv.ParseUint(days, 10, 32)
		if err != nil || n > mostDays {
			return 0, false
		}
		before = time.Duration(n) * 24 * time.Hour
		if rest == "" {
			return before, true
		}
		text = rest
	}
	d, err := time.ParseDuration(text)
	return before + d, err == nil && d >= 0
}

var failuresShape = regexp.MustCompile(`^([1-9]\d{0,8}|([1-9]\d?|100)%)$`)

func maxFailures() kind {
	return shaped("a number of tenants (at least 1) or a percentage of them (1% to 100%)", func(text string) (any, bool) {
		return text, failuresShape.MatchString(text)
	})
}

var prefixShape = regexp.MustCompile(`^[a-z][a-z0-9_]{0,19}$`)

func namePrefix() kind {
	expects := "a prefix of at most 20 characters a-z, 0-9 and _ that begins with a letter, but not with pg_"
	return shaped(expects, func(text string) (any, bool) {
		return text, prefixShape.MatchString(text) && !strings.HasPrefix(text, "pg_")
	})
}

func folder() kind {
	k := shaped("the path of a folder", func(text string) (any, bool) { return text, text != "" })
	k.path = true
	return k
}

var schemaName = regexp.MustCompile(`^[a-z_][a-z0-9_]{0,62}$`)

func extensionsSchema() kind {
	return shaped("the name of a schema that needs no quotes, and is neither public nor the server's or tenantctl's own", func(text string) (any, bool) {
		own := text == "public" || text == "information_schema" || text == "tenantctl" || strings.HasPrefix(text, "pg_")
		return text, text == "" || schemaName.MatchString(text) && !own
	})
}

var columnNames = regexp.MustCompile(`^[^.,\s]+\.[^.,\s]+( *, *[^.,\s]+\.[^.,\s]+)*$`)

func columnList() kind {
	return shaped("names like table.column, separated by commas", func(text string) (any, bool) {
		return text, text == "" || columnNames.MatchString(text)
	})
}

func optionalFolder() kind {
	k := shaped("the path of a folder", func(text string) (any, bool) { return text, true })
	k.path = true
	return k
}

// release is the number of a server's version; YAML takes 7.0 for the number 7.
var release = regexp.MustCompile(`^([0-9]{1,2}(\.[0-9]{1,3}){0,2})?$`)

func mongoVersion() kind {
	return shaped("a version of MongoDB such as 7.0", func(text string) (any, bool) { return text, release.MatchString(text) })
}

func optionalFile() kind {
	k := shaped("the path of a file", func(text string) (any, bool) { return text, true })
	k.path = true
	return k
}

// place is a folder or the URL of a store; empty for none.
func place() kind {
	expects := "a folder or a URL that begins with " + strings.Join(placeSchemes, ", ")
	k := shaped(expects, func(text string) (any, bool) {
		return text, !strings.Contains(text, "://") || slices.ContainsFunc(placeSchemes, func(s string) bool { return strings.HasPrefix(text, s) })
	})
	k.path = true
	return k
}

var placeSchemes = []string{"file://", "s3://", "gs://", "azblob://"}

// secretFile may be empty, which is the same as not set; the file is read while loading.
func secretFile() kind {
	k := shaped("the path of a file", func(text string) (any, bool) { return text, true })
	k.path = true
	return k
}

// signingKeys are secrets in base64, separated by commas or spaces. Faults never show them.
func signingKeys() kind {
	const least = 32
	return kind{expects: "keys of at least 32 bytes in base64, separated by commas", parse: func(text string) (any, error) {
		keys := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
		for i, k := range keys {
			if b, err := base64.StdEncoding.DecodeString(k); err != nil || len(b) < least {
				return nil, fmt.Errorf("key %d is not at least %d bytes in base64; openssl rand -base64 %d makes one", i+1, least, least)
			}
		}
		return Secret(strings.Join(keys, ",")), nil
	}}
}

func secretURL(expects string, check func(raw string) error) kind {
	return kind{expects: expects, parse: func(text string) (any, error) {
		text = strings.TrimSpace(text)
		if text == "" {
			return Secret(""), nil
		}
		return Secret(text), check(text)
	}}
}
