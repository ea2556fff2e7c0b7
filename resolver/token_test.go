package resolver

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"strings"
	"testing"
	"time"
)

var secret = bytes.Repeat([]byte("s"), 32)

// token makes a JWT whose signature another implementation of the algorithms made: that of the standard library.
func token(t testing.TB, head, claims map[string]any, key any) string {
	t.Helper()
	encode := func(v any) string {
		text, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		return base64.RawURLEncoding.EncodeToString(text)
	}
	signed := encode(head) + "." + encode(claims)
	sum := sha256.Sum256([]byte(signed))
	var signature []byte
	switch k := key.(type) {
	case []byte:
		signature = sign(k, signed)
	case *rsa.PrivateKey:
		signature, _ = rsa.SignPKCS1v15(rand.Reader, k, crypto.SHA256, sum[:])
	case *ecdsa.PrivateKey:
		r, s, err := ecdsa.Sign(rand.Reader, k, sum[:])
		if err != nil {
			t.Fatal(err)
		}
		signature = append(r.FillBytes(make([]byte, 32)), s.FillBytes(make([]byte, 32))...)
	}
	return signed + "." + base64.RawURLEncoding.EncodeToString(signature)
}

func publicKey(t testing.TB, key any) []byte {
	t.Helper()
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: der})
}

func TestOnlyAValidTokenLeadsToATenant(t *testing.T) {
	rsaKey, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	ecKey, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rsaPEM, ecPEM := publicKey(t, &rsaKey.PublicKey), publicKey(t, &ecKey.PublicKey)
	now := time.Unix(1_800_000_000, 0)
	claims := func(more ...any) map[string]any {
		c := map[string]any{"tenant": "acme", "exp": now.Unix() + 60}
		for i := 0; i < len(more); i += 2 {
			c[more[i].(string)] = more[i+1]
			if more[i+1] == nil {
				delete(c, more[i].(string))
			}
		}
		return c
	}
	alg := func(a string) map[string]any { return map[string]any{"alg": a, "typ": "JWT"} }
	good := token(t, alg("HS256"), claims(), secret)
	parts := strings.Split(good, ".")
	for name, c := range map[string]struct {
		key   []byte
		token string
		want  string // empty: acme
	}{
		"HS256":                        {secret, good, ""},
		"RS256":                        {rsaPEM, token(t, alg("RS256"), claims(), rsaKey), ""},
		"ES256":                        {ecPEM, token(t, alg("ES256"), claims(), ecKey), ""},
		"expired within the leeway":    {secret, token(t, alg("HS256"), claims("exp", now.Unix()-29), secret), ""},
		"expired":                      {secret, token(t, alg("HS256"), claims("exp", now.Unix()-31), secret), "the token has expired"},
		"not yet valid":                {secret, token(t, alg("HS256"), claims("nbf", now.Unix()+31), secret), "the token is not valid yet"},
		"without an end":               {secret, token(t, alg("HS256"), claims("exp", nil), secret), "the token does not expire"},
		"an end that is no number":     {secret, token(t, alg("HS256"), claims("exp", "never"), secret), "the token is no signed JWT"},
		"no claim":                     {secret, token(t, alg("HS256"), claims("tenant", nil), secret), "the token has no claim tenant"},
		"an empty claim":               {secret, token(t, alg("HS256"), claims("tenant", ""), secret), "the token has no claim tenant"},
		"a claim that is a list":       {secret, token(t, alg("HS256"), claims("tenant", []string{"acme"}), secret), "the token has no claim tenant"},
		"another key":                  {secret, token(t, alg("HS256"), claims(), bytes.Repeat([]byte("x"), 32)), "the token's signature is wrong"},
		"none":                         {secret, parts[0] + "." + parts[1] + ".", "the token's signature is wrong"},
		"alg none":                     {secret, token(t, alg("none"), claims(), nil), "the token's algorithm is not HS256"},
		"alg none to a public key":     {rsaPEM, token(t, alg("none"), claims(), nil), "the token's algorithm is not RS256"},
		"a public key used as secret":  {rsaPEM, token(t, alg("HS256"), claims(), rsaPEM), "the token's algorithm is not RS256"},
		"the same, named as expected":  {rsaPEM, token(t, alg("RS256"), claims(), rsaPEM), "the token's signature is wrong"},
		"another algorithm of the key": {rsaPEM, token(t, alg("RS512"), claims(), rsaKey), "the token's algorithm is not RS256"},
		"another curve's key":          {ecPEM, token(t, alg("RS256"), claims(), rsaKey), "the token's algorithm is not ES256"},
		"something critical":           {secret, token(t, map[string]any{"alg": "HS256", "crit": []string{"b64"}}, claims(), secret), "the token is no signed JWT"},
		"changed claims":               {secret, parts[0] + "." + base64.RawURLEncoding.EncodeToString([]byte(`{"tenant":"globex","exp":9999999999}`)) + "." + parts[2], "the token's signature is wrong"},
		"four parts":                   {secret, good + ".a", "the token is no signed JWT"},
		"two parts":                    {secret, parts[0] + "." + parts[1], "the token is no signed JWT"},
		"padding":                      {secret, good + "=", "the token is no signed JWT"},
		"9,000 characters":             {secret, good + strings.Repeat("a", 9000), "the token is no signed JWT"},
		"empty":                        {secret, "", "the token is no signed JWT"},
	} {
		key, err := ParseVerifyKey(c.key)
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := key.claim(c.token, "tenant", now)
		if text := errorText(err); text != c.want || (err == nil) != (got == "acme") {
			t.Errorf("%s: got %q, %q; want %q", name, got, text, c.want)
		}
	}
}

func errorText(err error) string {
	if err == nil {
		return ""
	}
	return err.Error()
}

func TestAWeakOrForeignKeyIsRefused(t *testing.T) {
	t.Setenv("GODEBUG", "rsa1024min=0") // else the library makes no such key
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	other, err := ecdsa.GenerateKey(elliptic.P384(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, text := range [][]byte{
		[]byte("short"), nil, publicKey(t, &small.PublicKey), publicKey(t, &other.PublicKey),
		[]byte("-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n"),
	} {
		if key, err := ParseVerifyKey(text); err == nil {
			t.Errorf("%q: got %+v", text, key)
		}
	}
}

func TestAnAssertionIsOneTenantsForOneHostAndAMinute(t *testing.T) {
	old, fresh := bytes.Repeat([]byte("o"), 32), bytes.Repeat([]byte("n"), 40)
	before, err := NewKeys(old)
	if err != nil {
		t.Fatal(err)
	}
	both, err := NewKeys(fresh, old)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	want := Tenant{ID: "1", Name: "acme", State: "active", Schema: "t_acme", Role: "t_acme", Database: "t_acme", Revision: 7, Gate: Open, Generation: "5e"}
	strange := want
	strange.Schema, strange.Name = "quo\"te\\ müller \n<b>", strange.Name+"\x7f"
	if got, _, err := before.Verify(before.Sign(&strange, "h", now), now); err != nil || *got != strange {
		t.Errorf("got %+v, %v", got, err)
	}
	for _, signed := range []string{before.Sign(&want, "acme.example.com", now), both.Sign(&want, "acme.example.com", now)} {
		got, host, err := both.Verify(signed, now)
		if err != nil || *got != want || host != "acme.example.com" {
			t.Errorf("got %+v, %s, %v", got, host, err)
		}
		if _, _, err := both.Verify(signed, now.Add(91*time.Second)); errorText(err) != "the token has expired" {
			t.Errorf("later: %v", err)
		}
	}
	if _, _, err := before.Verify(both.Sign(&want, "h", now), now); errorText(err) != "the token is signed by a key that is not known" {
		t.Errorf("a new key: %v", err)
	}
	foreign := token(t, map[string]any{"alg": "HS256", "kid": before.ids[0]}, map[string]any{"exp": now.Unix() + 60, "sub": "1", "schema": "x"}, old)
	if _, _, err := before.Verify(foreign, now); errorText(err) != "the token is no assertion of a tenant" {
		t.Errorf("another token of the same key: %v", err)
	}
	if _, err := NewKeys(secret[:31]); err == nil {
		t.Error("a short key was taken")
	}
}

func FuzzNoTokenIsTakenButWhatWasSigned(f *testing.F) {
	now := time.Unix(1_800_000_000, 0)
	key, err := ParseVerifyKey(secret)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(token(f, map[string]any{"alg": "none"}, map[string]any{"tenant": "acme", "exp": 1 << 40}, nil))
	f.Add("..")
	f.Add("eyJhbGciOiJIUzI1NiJ9.e30.")
	f.Fuzz(func(t *testing.T, text string) {
		if got, err := key.claim(text, "tenant", now); err == nil {
			t.Errorf("%q leads to %q", text, got)
		}
	})
}

// An assertion that is given out again is never another host's, another key's or an old one.
func TestAnAssertionIsSignedAnewWhereItWouldBeWrong(t *testing.T) {
	one, other := newKeys(t, "o"), newKeys(t, "p")
	r := &route{Tenant: Tenant{ID: "1", Name: "acme", Schema: "t", Generation: "5e"}}
	now := time.Now()
	for i, c := range []struct {
		keys *Keys
		host string
		at   time.Duration
	}{{one, "a", 0}, {one, "a", signedAgain - 1}, {one, "b", 0}, {one, "a", 0}, {other, "a", 0}, {one, "a", time.Hour}, {one, "a", 0}} {
		text := r.assertion(c.keys, c.host, now.Add(c.at))
		if _, host, err := c.keys.Verify(text, now.Add(c.at)); err != nil || host != c.host {
			t.Errorf("%d: got %s, %v", i, host, err)
		}
	}
}

func newKeys(t *testing.T, letter string) *Keys {
	t.Helper()
	k, err := NewKeys(bytes.Repeat([]byte(letter), 32))
	if err != nil {
		t.Fatal(err)
	}
	return k
}
