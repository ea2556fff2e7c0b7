package resolver

import (
	"fmt"
	"strconv"
	"strings"
)

const (
	maxHost  = 253 // characters of a name in the DNS
	maxLabel = 63
)

// HostError tells why a host cannot be anybody's.
type HostError struct{ Problem string }

func (e *HostError) Error() string { return "bad host: " + e.Problem }

func badHost(format string, args ...any) error { return &HostError{fmt.Sprintf(format, args...)} }

// ParseHost gives the one spelling of a request's host that the catalog keeps, and the port where there is one:
// lower-case, without a port and without the root's dot. Addresses, and what no name in the DNS can be, are errors.
func ParseHost(s string) (host, port string, err error) {
	host = s
	switch {
	case s == "":
		return "", "", badHost("it is empty")
	case len(s) > maxHost+len(".:65535"):
		return "", "", badHost("it has %d characters", len(s))
	case s[0] == '[' || strings.Count(s, ":") > 1:
		return "", "", badHost("it is an address")
	}
	if i := strings.IndexByte(s, ':'); i >= 0 {
		if host, port = s[:i], s[i+1:]; port != "" && !isPort(port) {
			return "", "", badHost("its port is none")
		}
	}
	host = strings.TrimSuffix(host, ".")
	if len(host) == 0 || len(host) > maxHost {
		return "", "", badHost("its name has %d characters", len(host))
	}
	lower, label, letters := false, 0, false
	for i := 0; i < len(host); i++ {
		switch c := host[i]; {
		case c == '.':
			if label == 0 || host[i-1] == '-' {
				return "", "", badHost("a label is empty or ends with a hyphen")
			}
			label, letters = 0, false
			continue
		case c == '-':
			if label == 0 {
				return "", "", badHost("a label begins with a hyphen")
			}
			letters = true
		case 'A' <= c && c <= 'Z':
			lower, letters = true, true
		case 'a' <= c && c <= 'z':
			letters = true
		case '0' <= c && c <= '9':
		default:
			return "", "", badHost("it has a character that no host name has")
		}
		if label++; label > maxLabel {
			return "", "", badHost("a label is longer than %d characters", maxLabel)
		}
	}
	switch {
	case label == 0 || host[len(host)-1] == '-':
		return "", "", badHost("a label is empty or ends with a hyphen")
	case !letters: // the last label of a name is never a number
		return "", "", badHost("it is an address")
	}
	if lower {
		host = strings.ToLower(host)
	}
	return host, port, nil
}

func isPort(s string) bool {
	for i := 0; i < len(s); i++ {
		if s[i] < '0' || s[i] > '9' {
			return false
		}
	}
	n, err := strconv.Atoi(s)
	return err == nil && len(s) <= 5 && n >= 1 && n <= 65535
}
