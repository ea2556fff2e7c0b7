package config

import (
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
)

// Secret is a connection string that masks itself wherever it is printed, logged or encoded.
type Secret string

var (
	_ fmt.Formatter  = Secret("")
	_ fmt.GoStringer = Secret("")
	_ slog.LogValuer = Secret("")
	_ json.Marshaler = Secret("")
)

// Reveal gives the connection string itself, for opening the connection.
func (s Secret) Reveal() string { return string(s) }

// String gives the connection string masked, as MaskURL does.
func (s Secret) String() string { return MaskURL(string(s)) }

// GoString masks, for %#v.
func (s Secret) GoString() string { return s.String() }

// Format masks whatever the verb.
func (s Secret) Format(w fmt.State, _ rune) { _, _ = io.WriteString(w, s.String()) }

// LogValue masks, for log/slog.
func (s Secret) LogValue() slog.Value { return slog.StringValue(s.String()) }

// MarshalText masks, for YAML and other text encodings.
func (s Secret) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// MarshalJSON masks.
func (s Secret) MarshalJSON() ([]byte, error) { return json.Marshal(s.String()) }
