package config

import (
	"net/url"
	"regexp"
	"strings"
)

// placeParameters are the query parameters of a place of backups whose values can be shown.
var placeParameters = map[string]bool{
	"region": true, "endpoint": true, "profile": true, "prefix": true, "use_path_style": true, "s3forcepathstyle": true, "hostname_immutable": true,
	"disable_https": true, "anonymous": true, "access_id": true, "domain": true, "protocol": true, "cdn": true, "localemu": true, "create_dir": true,
	"accelerate": true, "fips": true, "dualstack": true, "ssetype": true, "request_checksum_calculation": true, "response_checksum_validation": true,
}

// maskPlace gives the URL of a place of backups without its secrets; a folder stays as it is.
func maskPlace(raw string) string {
	if !strings.Contains(raw, "://") {
		return raw
	}
	u, err := url.Parse(raw)
	if err != nil || strings.Contains(u.Host, "@") {
		return hidden
	}
	if _, set := u.User.Password(); set {
		u.User = url.UserPassword(u.User.Username(), hidden)
	}
	if u.RawQuery == "" {
		return u.String()
	}
	pairs := strings.Split(u.RawQuery, "&")
	for i, pair := range pairs {
		name, _, _ := strings.Cut(pair, "=")
		if !placeParameters[strings.ToLower(name)] {
			pairs[i] = name + "=" + hidden
		}
	}
	u.RawQuery = strings.Join(pairs, "&")
	return u.String()
}

var ageIdentity = regexp.MustCompile(`(?i)AGE-[A-Z0-9-]*(?:SECRET|PLUGIN)[A-Z0-9-]*`)

// maskKeys takes from a list of public keys what is a secret one.
func maskKeys(raw string) string { return ageIdentity.ReplaceAllString(raw, hidden) }
