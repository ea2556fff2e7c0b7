package archive

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/tenantctl/tenantctl/tenant"
)

// What is done about signatures: Config.Signing.
const (
	SigningAuto    = "auto"    // sign where there is a key; refuse a signature of a known key that is wrong
	SigningRequire = "require" // refuse what no known key has signed
	SigningNone    = "none"    // neither sign nor look
)

// signatureFile lies beside the manifest and is written before it. It is of the manifest's bytes, which name the backup,
// its tenant, and the SHA-256 of the archive and of every part.
const signatureFile = "manifest.sig"

const (
	signatureScheme = "hmac-sha256"
	signedText      = "tenantctl backup manifest 1\n" // stands before what is signed, so that it is nothing else's MAC
	keyIDText       = "tenantctl backup signing key\n"
	leastKey        = 32 // bytes
	maxSignature    = 4 << 10
)

// signature is manifest.sig.
type signature struct {
	Scheme string `json:"scheme"`
	Key    string `json:"key"` // id of the key
	MAC    string `json:"mac"` // in hex
}

// signingKey is a secret with which manifests are signed and verified.
type signingKey []byte

// parseSigningKeys reads keys in base64. The first signs, all verify. No error quotes one.
func parseSigningKeys(texts []string) ([]signingKey, error) {
	var keys []signingKey
	for i, text := range texts {
		k, err := parseSigningKey(text)
		if err != nil {
			return nil, tenant.Invalid("openssl rand -base64 32 makes one", "key %d of backup.signing_key is no key: %v", i+1, err)
		}
		keys = append(keys, k)
	}
	return keys, nil
}

func parseSigningKey(text string) (signingKey, error) {
	k, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	switch {
	case err != nil:
		return nil, errors.New("it is not base64")
	case len(k) < leastKey:
		return nil, fmt.Errorf("it has %d bytes, and %d are the least", len(k), leastKey)
	}
	return k, nil
}

// mac is the HMAC-SHA256 of a text.
func (k signingKey) mac(text ...[]byte) []byte {
	h := hmac.New(sha256.New, k)
	for _, t := range text {
		h.Write(t)
	}
	return h.Sum(nil)
}

// id tells keys apart.
func (k signingKey) id() string { return hex.EncodeToString(k.mac([]byte(keyIDText))[:6]) }

// sign gives the content of manifest.sig.
func (k signingKey) sign(manifest []byte) ([]byte, error) {
	text, err := json.Marshal(signature{signatureScheme, k.id(), hex.EncodeToString(k.mac([]byte(signedText), manifest))})
	return append(text, '\n'), err
}

// signer is the key that signs, nil where nothing is signed.
func (v *Vault) signer() signingKey {
	if v.cfg.Signing == SigningNone || len(v.signing) == 0 {
		return nil
	}
	return v.signing[0]
}

// signedBy verifies the signature of a manifest and gives the state of it and the id of the key.
func (v *Vault) signedBy(ctx context.Context, dir string, manifest []byte) (state, key string, err error) {
	if v.cfg.Signing == SigningNone {
		return tenant.SignatureIgnored, "", nil
	}
	where := v.store.at(dir + manifestFile)
	text, err := v.store.read(ctx, dir+signatureFile, maxSignature)
	if errors.Is(err, tenant.ErrNotFound) {
		return tenant.SignatureMissing, "", v.insist("unsigned", "%s is not signed", where)
	}
	if err != nil {
		return "", "", err
	}
	var s signature
	if json.Unmarshal(text, &s) != nil || s.Scheme != signatureScheme {
		return "", "", wrongSignature("%s is no signature that is known here", v.store.at(dir+signatureFile))
	}
	for _, k := range v.signing {
		if k.id() != s.Key {
			continue
		}
		mac, err := hex.DecodeString(s.MAC)
		if err != nil || !hmac.Equal(mac, k.mac([]byte(signedText), manifest)) {
			return "", "", wrongSignature("%s is not what key %s has signed: it was changed, or is another backup's", where, s.Key)
		}
		return tenant.SignatureVerified, s.Key, nil
	}
	return tenant.SignatureUnknownKey, "", v.insist("unknown_key", "%s is signed with the key %.40q, which is none of backup.signing_key", where, s.Key)
}

// insist is an error where backups have to be signed.
func (v *Vault) insist(code, text string, args ...any) error {
	if v.cfg.Signing != SigningRequire {
		return nil
	}
	return &tenant.Error{
		Kind: tenant.ErrDiffers, Code: code, Store: storeName, Msg: fmt.Sprintf(text, args...) + ", and backup.signing is require",
		Hint: "restore another backup; where you know that it is yours, add its key to backup.signing_key, or set TENANTCTL_BACKUP_SIGNING=auto for this command",
	}
}

func wrongSignature(text string, args ...any) error {
	return &tenant.Error{
		Kind: tenant.ErrDiffers, Code: "wrong_signature", Store: storeName, Msg: fmt.Sprintf(text, args...),
		Hint: "restore another backup, and look who can write to the place of backups",
	}
}
