package config

import (
	"regexp"
	"strings"
)

// hidden stands where a secret was.
const hidden = "xxxxx"

// urlShape takes a URL apart: scheme, user, password, hosts, path, query. It allows a single literal @, so that no
// part of a password with an unescaped delimiter in it is ever taken for a host, a path or a parameter.
var urlShape = regexp.MustCompile(`^([A-Za-z][A-Za-z0-9+.-]*://)` +
	`(?:([^:/?#@\s[:cntrl:]]*)(:[^/?#@]*)?@)?` +
	`((?:[\w.%-]*|\[[0-9A-Fa-f:.%]+\])(?::\d{0,5})?(?:,(?:[\w.%-]*|\[[0-9A-Fa-f:.%]+\])(?::\d{0,5})?)*)` +
	`(/[^?#@;\s[:cntrl:]]*)?` +
	`(?:\?([^#@;\s[:cntrl:]]*))?$`)

// pairShape is one key=value of a PostgreSQL connection string, with the quoting of libpq.
var pairShape = regexp.MustCompile(`(?s)^\s*([A-Za-z_]+)\s*=\s*` +
	`('(?:[^'\\[:cntrl:]]|\\.)*'|(?:[^\s'\\[:cntrl:]]|\\.)(?:[^\s\\[:cntrl:]]|\\.)*|)(?:\s+|$)`)

// parameters are the names shown in a masked connection string; only the values of those that are true are shown too.
var parameters = map[string]bool{
	"password": false, "sslpassword": false, "authmechanismproperties": false,
	"tlscertificatekeyfilepassword": false, "sslclientcertificatekeypassword": false,

	"application_name": true, "channel_binding": true, "connect_timeout": true, "database": true, "dbname": true,
	"host": true, "hostaddr": true, "krbsrvname": true, "max_protocol_version": true, "min_protocol_version": true,
	"passfile": true, "port": true, "require_auth": true, "service": true, "servicefile": true, "sslcert": true,
	"sslcertmode": true, "sslkey": true, "sslmode": true, "sslnegotiation": true, "sslrootcert": true, "sslsni": true,
	"target_session_attrs": true, "user": true,

	"appname": true, "authmechanism": true, "authsource": true, "compressors": true, "connect": true,
	"connecttimeoutms": true, "directconnection": true, "heartbeatfrequencyms": true, "journal": true,
	"loadbalanced": true, "localthresholdms": true, "maxconnecting": true, "maxidletimems": true, "maxpoolsize": true,
	"maxstalenessseconds": true, "minpoolsize": true, "readconcernlevel": true, "readpreference": true,
	"readpreferencetags": true, "replicaset": true, "retryreads": true, "retrywrites": true,
	"servermonitoringmode": true, "serverselectiontimeoutms": true, "sockettimeoutms": true, "srvmaxhosts": true,
	"srvservicename": true, "ssl": true, "timeoutms": true, "tls": true, "tlscafile": true,
	"tlscertificatefile": true, "tlscertificatekeyfile": true, "tlsinsecure": true, "tlsprivatekeyfile": true, "w": true,
}

// MaskURL gives a connection string (a URL, or PostgreSQL's key=value pairs) that can be shown: passwords, and the
// parameters that are not known to be harmless, read xxxxx. What cannot be taken apart with certainty is xxxxx as a whole.
func MaskURL(raw string) string {
	if raw == "" {
		return ""
	}
	if parts := urlShape.FindStringSubmatch(raw); parts != nil {
		return maskParts(raw, parts)
	}
	return maskPairs(raw)
}

// maskParts puts a URL together again from the groups of urlShape, without its secrets.
func maskParts(raw string, parts []string) string {
	scheme, user, password, hosts, path, query := parts[1], parts[2], parts[3], parts[4], parts[5], parts[6]
	masked := scheme
	if strings.Contains(raw, "@") {
		masked += user
		if password != "" {
			masked += ":" + hidden
		}
		masked += "@"
	}
	masked += hosts + path
	if query == "" {
		return masked
	}
	pairs := strings.Split(query, "&")
	for i, pair := range pairs {
		name, value, _ := strings.Cut(pair, "=")
		pairs[i] = maskPair(name, value)
	}
	return masked + "?" + strings.Join(pairs, "&")
}

// maskPairs masks key=value pairs; it hides all of a string that is anything else.
func maskPairs(raw string) string {
	var pairs []string
	for rest := raw; rest != ""; {
		found := pairShape.FindStringSubmatch(rest)
		if found == nil {
			return hidden
		}
		pairs = append(pairs, maskPair(found[1], found[2]))
		rest = rest[len(found[0]):]
	}
	return strings.Join(pairs, " ")
}

// maskPair hides an unknown name as well: it may be the rest of a password with an unescaped delimiter in it,
// or a known one that is percent-encoded.
func maskPair(name, value string) string {
	harmless, known := parameters[strings.ToLower(name)]
	switch {
	case !known:
		return hidden + "=" + hidden
	case !harmless || strings.ContainsAny(value, "@=") || strings.Contains(value, "%40"):
		return name + "=" + hidden
	default:
		return name + "=" + value
	}
}
