package config

import (
	"fmt"
	"net/netip"
	"net/textproto"
	"regexp"
	"strings"
	"time"
	"unicode"
)

// Resolve says how requests find their tenant, and how `tenantctl resolver` answers.
type Resolve struct {
	Listen           string        `mapstructure:"listen"`      // host:port; empty: no TCP
	Socket           string        `mapstructure:"socket"`      // path of a unix socket; empty: none
	BaseDomain       string        `mapstructure:"base_domain"` // NAME.BaseDomain is the tenant NAME; empty: no host is
	Header           string        `mapstructure:"header"`      // canonical spelling; empty: none is read
	PathPrefix       string        `mapstructure:"path_prefix"` // such as /t/; empty: no path is read
	JWTClaim         string        `mapstructure:"jwt_claim"`   // empty: no token is read
	JWTKeyFile       string        `mapstructure:"jwt_key_file"`
	TrustedProxies   string        `mapstructure:"trusted_proxies"`    // networks, separated by commas
	AssertionKey     Secret        `mapstructure:"assertion_key"`      // several by commas; the first signs
	AssertionKeyFile string        `mapstructure:"assertion_key_file"` // where AssertionKey was read from, if from a file
	MaxStale         time.Duration `mapstructure:"max_stale"`
	Poll             time.Duration `mapstructure:"poll"`
	Reload           time.Duration `mapstructure:"reload"`
	RedisURL         Secret        `mapstructure:"redis_url"`      // empty: no Redis
	RedisURLFile     string        `mapstructure:"redis_url_file"` // where RedisURL was read from, if from a file
	Wait             time.Duration `mapstructure:"wait"`           // of operations, for resolvers
}

var resolveKeys = []Key{
	{
		Name: "resolve.listen", Default: "127.0.0.1:8470", Flag: "listen", kind: listenAddress(),
		Doc: "Where tenantctl resolver answers over TCP: an address and a port. Empty: by resolve.socket alone.",
	},
	{
		Name: "resolve.socket", Flag: "socket", kind: optionalFile(),
		Doc: "The unix socket where tenantctl resolver answers as well. Whoever may write to it counts as a trusted proxy.",
	},
	{
		Name: "resolve.base_domain", kind: hostName(),
		Doc: "NAME.base_domain leads to the tenant NAME, without an entry in the catalog. Empty: only domains of tenants do.",
	},
	{
		Name: "resolve.header", kind: headerName(),
		Doc: "A header that names the tenant, such as X-Tenant. It counts from trusted proxies alone, which must not pass on a visitor's.",
	},
	{
		Name: "resolve.path_prefix", kind: pathPrefix(),
		Doc: "The beginning of a path, such as /t/, behind which the name of the tenant follows.",
	},
	{
		Name: "resolve.jwt_claim", kind: lineOfText(),
		Doc: "The claim of a bearer token that names the tenant; resolve.jwt_key_file verifies the token.",
	},
	{
		Name: "resolve.jwt_key_file", kind: optionalFile(),
		Doc: "A file with a public key in PEM (RS256, ES256) or a shared secret of at least 32 characters (HS256).",
	},
	{
		Name: "resolve.trusted_proxies", Default: "127.0.0.0/8,::1/128", kind: networks(),
		Doc: "The networks that proxies ask from, separated by commas. Nobody else is answered.",
	},
	{
		Name: "resolve.assertion_key", Secret: true, kind: assertionKeys(),
		Doc: "The secrets that sign X-Tenant-Assertion (HMAC-SHA256), of at least 32 characters, separated by commas. " +
			"The first signs; applications accept all: a new one is put before the old ones. Empty: nothing is signed.",
	},
	{
		Name: "resolve.assertion_key_file", kind: secretFile(), holds: "resolve.assertion_key",
		Doc: "A file whose content is resolve.assertion_key, a secret a line. Set one of the two.",
	},
	{
		Name: "resolve.max_stale", Default: "30s", kind: durationFrom(time.Second),
		Doc: "How long a resolver answers by what it has read last where the catalog cannot be read. Then it refuses all (503).",
	},
	{
		Name: "resolve.poll", Default: "1s", kind: durationFrom(10 * time.Millisecond),
		Doc: "How often a resolver looks for changes, beside being told of them.",
	},
	{
		Name: "resolve.reload", Default: "5m", kind: durationFrom(time.Second),
		Doc: "How often a resolver reads all tenants again.",
	},
	{
		Name: "resolve.redis_url", Secret: true, kind: secretURL("a redis:// or rediss:// URL", checkRedisURL),
		Doc: "The Redis where a resolver keeps its answers of /v1/resolve for applications that look there first. Empty: nowhere.",
	},
	{
		Name: "resolve.redis_url_file", kind: secretFile(), holds: "resolve.redis_url",
		Doc: "A file whose content is resolve.redis_url. Set one of the two.",
	},
	{
		Name: "resolve.wait", Default: "45s", kind: durationFrom(time.Millisecond),
		Doc: "How long suspend, delete and restore wait until every resolver knows that the tenant is not served; then they say which does not, " +
			"and go on. A resolver that is gone is waited for no longer than its resolve.max_stale.",
	},
}

func listenAddress() kind {
	return shaped("an address and a port, such as 127.0.0.1:8470", func(text string) (any, bool) {
		_, err := netip.ParseAddrPort(text)
		return text, text == "" || err == nil
	})
}

var hostShape = regexp.MustCompile(`^([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)*[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$`)

func hostName() kind {
	return shaped("a host name in lower case, without a port", func(text string) (any, bool) {
		return text, text == "" || len(text) <= 253-64 && hostShape.MatchString(text)
	})
}

var headerShape = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

func headerName() kind {
	return shaped("the name of a header that nothing else is kept in, such as X-Tenant", func(text string) (any, bool) {
		name := textproto.CanonicalMIMEHeaderKey(text)
		taken := name == "Host" || name == "Authorization" || strings.HasPrefix(name, "X-Forwarded-") || strings.HasPrefix(name, "X-Tenant-")
		return name, text == "" || headerShape.MatchString(text) && !taken
	})
}

var prefixOfPaths = regexp.MustCompile(`^/([A-Za-z0-9_~-]+/)*$`)

func pathPrefix() kind {
	return shaped("a path that begins and ends with a slash, such as /t/", func(text string) (any, bool) {
		return text, text == "" || prefixOfPaths.MatchString(text)
	})
}

func networks() kind {
	return shaped("networks such as 10.0.0.0/8, separated by commas", func(text string) (any, bool) {
		_, err := ParseNetworks(text)
		return text, err == nil
	})
}

// ParseNetworks reads networks that are separated by commas. An address is a network of one.
func ParseNetworks(text string) ([]netip.Prefix, error) {
	var all []netip.Prefix
	for _, one := range strings.FieldsFunc(text, func(c rune) bool { return c == ',' || unicode.IsSpace(c) }) {
		if address, err := netip.ParseAddr(one); err == nil {
			all = append(all, netip.PrefixFrom(address.Unmap(), address.Unmap().BitLen()))
			continue
		}
		network, err := netip.ParsePrefix(one)
		if err != nil {
			return nil, err
		}
		all = append(all, network.Masked())
	}
	return all, nil
}

// assertionKeys are secrets, separated by commas or spaces. Faults never show them.
func assertionKeys() kind {
	const least = 32
	return kind{expects: "secrets of at least 32 characters, separated by commas", parse: func(text string) (any, error) {
		keys := strings.FieldsFunc(text, func(r rune) bool { return r == ',' || unicode.IsSpace(r) })
		for i, k := range keys {
			if len(k) < least {
				return nil, fmt.Errorf("secret %d has less than %d characters; openssl rand -hex %d makes one", i+1, least, least)
			}
		}
		return Secret(strings.Join(keys, ",")), nil
	}}
}
