package resolver

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/hmac"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"hash"
	"math/big"
	"strconv"
	"strings"
	"sync"
	"time"
)

// leeway is how far the clocks of two machines may be apart.
const leeway = 30 * time.Second

// assertionAge is how long an assertion is good: long enough for a proxy that keeps an answer for a few seconds.
const assertionAge = time.Minute

// minSecret is the least length of a shared secret, in bytes.
const minSecret = 32

// VerifyKey verifies tokens by one algorithm, which is the key's and never the token's.
type VerifyKey struct {
	algorithm string
	secret    []byte
	public    crypto.PublicKey
}

// ParseVerifyKey reads a public key in PEM (RS256 or ES256), or takes the text as a shared secret (HS256).
func ParseVerifyKey(text []byte) (*VerifyKey, error) {
	block, _ := pem.Decode(text)
	if block == nil {
		secret := strings.TrimSpace(string(text))
		if len(secret) < minSecret {
			return nil, fmt.Errorf("a shared secret has at least %d characters", minSecret)
		}
		return &VerifyKey{algorithm: "HS256", secret: []byte(secret)}, nil
	}
	key, err := x509.ParsePKIXPublicKey(block.Bytes)
	if err != nil {
		return nil, errors.New("it holds no public key (BEGIN PUBLIC KEY)")
	}
	switch k := key.(type) {
	case *rsa.PublicKey:
		if k.N.BitLen() < 2048 {
			return nil, errors.New("an RSA key has at least 2048 bits")
		}
		return &VerifyKey{algorithm: "RS256", public: k}, nil
	case *ecdsa.PublicKey:
		if k.Curve == elliptic.P256() {
			return &VerifyKey{algorithm: "ES256", public: k}, nil
		}
	}
	return nil, errors.New("the key is neither RSA nor on the curve P-256")
}

func (k *VerifyKey) verify(signed string, signature []byte) bool {
	sum := sha256.Sum256([]byte(signed))
	switch public := k.public.(type) {
	case *rsa.PublicKey:
		return rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], signature) == nil
	case *ecdsa.PublicKey:
		if len(signature) != 64 {
			return false
		}
		return ecdsa.Verify(
			public,
			sum[:],
			new(big.Int).SetBytes(signature[:32]),
			new(big.Int).SetBytes(signature[32:]),
		)
	}
	return hmac.Equal(sign(k.secret, signed), signature)
}

func sign(secret []byte, text string) []byte {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte(text))
	return mac.Sum(nil)
}

var errToken = errors.New("the token is no signed JWT")

// open verifies a token, and decodes its claims into v. pick gives the key by the header's key id.
func open(token string, pick func(kid string) *VerifyKey, now time.Time, v any) error {
	if len(token) > 8192 {
		return errToken
	}
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return errToken
	}
	var raw [3][]byte
	for i, p := range parts {
		b, err := base64.RawURLEncoding.Strict().DecodeString(p)
		if err != nil {
			return errToken
		}
		raw[i] = b
	}
	var head struct {
		Algorithm string   `json:"alg"`
		KeyID     string   `json:"kid"`
		Critical  []string `json:"crit"`
	}
	if json.Unmarshal(raw[0], &head) != nil || len(head.Critical) > 0 {
		return errToken
	}
	key := pick(head.KeyID)
	switch {
	case key == nil:
		return errors.New("the token is signed by a key that is not known")
	case head.Algorithm != key.algorithm:
		return fmt.Errorf("the token's algorithm is not %s", key.algorithm)
	case !key.verify(parts[0]+"."+parts[1], raw[2]):
		return errors.New("the token's signature is wrong")
	}
	var times struct {
		Expires   *float64 `json:"exp"`
		NotBefore *float64 `json:"nbf"`
	}
	if json.Unmarshal(raw[1], &times) != nil {
		return errToken
	}
	at := float64(now.UnixMilli()) / 1000
	switch {
	case times.Expires == nil:
		return errors.New("the token does not expire")
	case at > *times.Expires+leeway.Seconds():
		return errors.New("the token has expired")
	case times.NotBefore != nil && at < *times.NotBefore-leeway.Seconds():
		return errors.New("the token is not valid yet")
	}
	if json.Unmarshal(raw[1], v) != nil {
		return errToken
	}
	return nil
}

// claim is the value of one claim of a valid token.
func (k *VerifyKey) claim(token, name string, now time.Time) (string, error) {
	if k == nil {
		return "", errors.New("there is no key for tokens")
	}
	var claims map[string]any
	if err := open(token, func(string) *VerifyKey { return k }, now, &claims); err != nil {
		return "", err
	}
	value, ok := claims[name].(string)
	if !ok || value == "" {
		return "", errors.New("the token has no claim " + name)
	}
	return value, nil
}

// Keys sign and verify assertions: what a resolver says of a request, for an application that others can reach too.
// The first signs, all verify.
type Keys struct {
	macs sync.Pool // of hash.Hash by the first key: to begin one costs as much as to sign
	keys []*VerifyKey
	ids  []string
}

// NewKeys takes shared secrets of at least 32 bytes.
func NewKeys(secrets ...[]byte) (*Keys, error) {
	k := &Keys{}
	for _, s := range secrets {
		if len(s) < minSecret {
			return nil, fmt.Errorf("a key of assertions has at least %d bytes", minSecret)
		}
		sum := sha256.Sum256(s)
		k.keys = append(k.keys, &VerifyKey{algorithm: "HS256", secret: s})
		k.ids = append(k.ids, hex.EncodeToString(sum[:4]))
	}
	if len(k.keys) == 0 {
		return nil, errors.New("there is no key of assertions")
	}
	return k, nil
}

const issuer = "tenantctl"

// assertion is the claims of an assertion, a JWT by HS256.
type assertion struct {
	Issuer   string `json:"iss"`
	ID       string `json:"sub"`
	Host     string `json:"host"`
	Name     string `json:"tenant"`
	State    string `json:"state"`
	Schema   string `json:"schema"`
	Role     string `json:"role"`
	Database string `json:"database"`
	Revision int64  `json:"rev"`
	Issued   int64  `json:"iat"`
	Expires  int64  `json:"exp"`

	Generation string `json:"gen"`
}

// Sign asserts that a request to a host is an open tenant's.
func (k *Keys) Sign(t *Tenant, host string, now time.Time) string {
	claims := make([]byte, 0, 512)
	for i, c := range [...]struct{ name, value string }{
		{"iss", issuer},
		{"sub", t.ID},
		{"host", host},
		{"tenant", t.Name},
		{"state", t.State},
		{"schema", t.Schema},
		{"role", t.Role},
		{"database", t.Database},
		{"gen", t.Generation},
	} {
		claims = append(claims, "{,"[min(i, 1)], '"')
		claims = append(append(claims, c.name...), '"', ':')
		claims = appendText(claims, c.value)
	}
	claims = strconv.AppendInt(append(claims, `,"rev":`...), t.Revision, 10)
	claims = strconv.AppendInt(append(claims, `,"iat":`...), now.Unix(), 10)
	claims = strconv.AppendInt(append(claims, `,"exp":`...), now.Add(assertionAge).Unix(), 10)
	claims = append(claims, '}')

	text := make([]byte, 0, 1024)
	text = base64.RawURLEncoding.AppendEncode(text, []byte(`{"alg":"HS256","typ":"JWT","kid":"`+k.ids[0]+`"}`))
	text = base64.RawURLEncoding.AppendEncode(append(text, '.'), claims)
	mac, ok := k.macs.Get().(hash.Hash)
	if !ok {
		mac = hmac.New(sha256.New, k.keys[0].secret)
	}
	mac.Reset()
	mac.Write(text)
	var sum [sha256.Size]byte
	text = base64.RawURLEncoding.AppendEncode(append(text, '.'), mac.Sum(sum[:0]))
	k.macs.Put(mac)
	return string(text)
}

// appendText appends a JSON string. Names need no escapes, unless a tenant was adopted with strange ones.
func appendText(to []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' {
			quoted, _ := json.Marshal(s) // a string: it cannot fail
			return append(to, quoted...)
		}
	}
	return append(append(append(to, '"'), s...), '"')
}

// signed is an assertion that is given out again: to sign each request's would cost more than to find its tenant.
type signed struct {
	by    *Keys
	host  string
	text  string
	until time.Time
}

// signedAgain is for how long the same assertion is given out; it is good for longer.
const signedAgain = 5 * time.Second

// assertion is that of the route's tenant for a host. A route is never changed: a change makes another one.
func (r *route) assertion(keys *Keys, host string, now time.Time) string {
	if s := r.signed.Load(); s != nil && s.by == keys && s.host == host && now.Before(s.until) {
		return s.text
	}
	text := keys.Sign(&r.Tenant, host, now)
	r.signed.Store(&signed{keys, host, text, now.Add(signedAgain)})
	return text
}

// Verify gives the tenant of a valid assertion, and the host of the request that it was made for.
func (k *Keys) Verify(token string, now time.Time) (t *Tenant, host string, err error) {
	var a assertion
	err = open(token, func(kid string) *VerifyKey {
		for i, id := range k.ids {
			if id == kid {
				return k.keys[i]
			}
		}
		return nil
	}, now, &a)
	switch {
	case err != nil:
		return nil, "", err
	case a.Issuer != issuer || a.ID == "" || a.Schema == "" || a.Generation == "":
		return nil, "", errors.New("the token is no assertion of a tenant")
	}
	return &Tenant{
		ID:       a.ID,
		Name:     a.Name,
		State:    a.State,
		Schema:   a.Schema,
		Role:     a.Role,
		Database: a.Database,
		Revision: a.Revision,
		Gate:     Open,

		Generation: a.Generation,
	}, a.Host, nil
}
