package archive

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"

	"github.com/tenantctl/tenantctl/tenant"
)

// keyOf is a key for signatures, made of one byte.
func keyOf(b byte) string {
	return base64.StdEncoding.EncodeToString(bytes.Repeat([]byte{b}, leastKey))
}

func idOf(t testing.TB, key string) string {
	t.Helper()
	k, err := parseSigningKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return k.id()
}

// readable opens a backup and reads it to its end.
func readable(t testing.TB, v *Vault, b *tenant.Backup) (*tenant.Backup, error) {
	t.Helper()
	opened, err := v.Open(t.Context(), b.TenantID, b.ID)
	if err != nil {
		return nil, err
	}
	return opened, v.Read(t.Context(), opened, func(tenant.Part) (io.WriteCloser, error) { return nil, nil })
}

func TestBackupsAreSignedAndTheSignatureIsVerified(t *testing.T) {
	everywhere(t, func(t *testing.T, url string) {
		v := open(t, Config{URL: url, SigningKeys: []string{keyOf(1)}})
		made := makeBackup(t, v, uuid.New(), small)
		if made.SignedBy != idOf(t, keyOf(1)) || made.Signature != tenant.SignatureVerified {
			t.Errorf("made: signed by %q, %s", made.SignedBy, made.Signature)
		}
		b, err := readable(t, open(t, Config{URL: url, Signing: SigningRequire, SigningKeys: []string{keyOf(1)}}), made)
		if err != nil || b.SignedBy != made.SignedBy || b.Signature != tenant.SignatureVerified || b.ManifestSHA256 != made.ManifestSHA256 || b.ManifestSHA256 == "" {
			t.Errorf("read: %+v, %v", b, err)
		}
		if err := v.Remove(t.Context(), made.TenantID, made.ID); err != nil {
			t.Fatal(err)
		}
		for s, err := range v.List(t.Context(), made.TenantID) {
			t.Errorf("removed, and %v is left (%v)", s, err)
		}
		if there, err := v.store.exists(t.Context(), folder(made.TenantID, made.ID)+signatureFile); there || err != nil {
			t.Errorf("the signature is left: %v", err)
		}
	})
}

func TestKeysAreReplacedOneAfterTheOther(t *testing.T) {
	url := t.TempDir()
	before := makeBackup(t, open(t, Config{URL: url}), uuid.New(), small)
	old := makeBackup(t, open(t, Config{URL: url, SigningKeys: []string{keyOf(1)}}), uuid.New(), small)
	both := open(t, Config{URL: url, Signing: SigningRequire, SigningKeys: []string{keyOf(2), keyOf(1)}})
	fresh := makeBackup(t, both, uuid.New(), small)
	for _, b := range []*tenant.Backup{old, fresh} {
		if _, err := readable(t, both, b); err != nil {
			t.Error(err)
		}
	}
	if old.SignedBy != idOf(t, keyOf(1)) || fresh.SignedBy != idOf(t, keyOf(2)) {
		t.Errorf("signed by %s and %s", old.SignedBy, fresh.SignedBy)
	}
	_, err := readable(t, both, before)
	refused(t, err, tenant.ErrDiffers, "not signed", "require")
	later := open(t, Config{URL: url, Signing: SigningRequire, SigningKeys: []string{keyOf(2)}})
	_, err = readable(t, later, old)
	refused(t, err, tenant.ErrDiffers, idOf(t, keyOf(1)), "backup.signing_key")
	for signing, want := range map[string][]string{
		SigningAuto: {tenant.SignatureMissing, tenant.SignatureUnknownKey, tenant.SignatureVerified}, SigningNone: {tenant.SignatureIgnored, tenant.SignatureIgnored, tenant.SignatureIgnored},
	} {
		v := open(t, Config{URL: url, Signing: signing, SigningKeys: []string{keyOf(2)}})
		for i, b := range []*tenant.Backup{before, old, fresh} {
			got, err := readable(t, v, b)
			if err != nil || got.Signature != want[i] || (got.SignedBy != "") != (want[i] == tenant.SignatureVerified) {
				t.Errorf("%s: backup %d is %+v, %v", signing, i, got, err)
			}
		}
	}
	unsigned := makeBackup(t, open(t, Config{URL: url, Signing: SigningNone, SigningKeys: []string{keyOf(2)}}), uuid.New(), small)
	if unsigned.SignedBy != "" {
		t.Error("signed, with backup.signing none")
	}
}

// TestForgedBackupsAreRefused forges a signed backup in each way; codes are those with backup.signing require, and with
// auto, where what has no signature is taken.
func TestForgedBackupsAreRefused(t *testing.T) {
	tenantID := uuid.New()
	for what, c := range map[string]struct {
		require, auto string
		forge         func(t *testing.T, v *Vault, b, other *tenant.Backup)
	}{
		"a byte of the manifest": {"wrong_signature", "wrong_signature", func(t *testing.T, v *Vault, b, _ *tenant.Backup) {
			edit(t, v, b, manifestFile, func(s []byte) []byte { return bytes.Replace(s, []byte(`"skew_ms": 17`), []byte(`"skew_ms": 18`), 1) })
		}},
		"the manifest with other spaces": {"wrong_signature", "wrong_signature", func(t *testing.T, v *Vault, b, _ *tenant.Backup) {
			edit(t, v, b, manifestFile, func(s []byte) []byte { return append(s, '\n') })
		}},
		"the time": {"wrong_signature", "wrong_signature", func(t *testing.T, v *Vault, b, _ *tenant.Backup) {
			edit(t, v, b, manifestFile, func(s []byte) []byte {
				return bytes.Replace(s, []byte(`"created_at": "2026`), []byte(`"created_at": "2036`), 1)
			})
		}},
		"another backup's files under its name": {"wrong_signature", "wrong_signature", func(t *testing.T, v *Vault, b, other *tenant.Backup) {
			move(t, v, b, other, manifestFile, signatureFile, plainFile)
		}},
		"another backup's archive": {"other parts", "other parts", func(t *testing.T, v *Vault, b, other *tenant.Backup) { move(t, v, b, other, plainFile) }},
		"another backup's signature": {"wrong_signature", "wrong_signature", func(t *testing.T, v *Vault, b, other *tenant.Backup) {
			edit(t, v, b, signatureFile, func([]byte) []byte { return fileOf(t, v, other, signatureFile) })
		}},
		"no signature": {"unsigned", "", func(t *testing.T, v *Vault, b, _ *tenant.Backup) {
			must(t, os.Remove(v.store.path(folder(b.TenantID, b.ID)+signatureFile)))
		}},
		"an empty signature": {"wrong_signature", "wrong_signature", func(t *testing.T, v *Vault, b, _ *tenant.Backup) {
			edit(t, v, b, signatureFile, func([]byte) []byte { return nil })
		}},
		"another scheme": {"wrong_signature", "wrong_signature", func(t *testing.T, v *Vault, b, _ *tenant.Backup) {
			edit(t, v, b, signatureFile, swap("hmac-sha256", "none"))
		}},
		"an empty MAC": {"wrong_signature", "wrong_signature", func(t *testing.T, v *Vault, b, _ *tenant.Backup) { edit(t, v, b, signatureFile, cutMAC) }},
		"an unknown key's id": {"unknown_key", "", func(t *testing.T, v *Vault, b, _ *tenant.Backup) {
			edit(t, v, b, signatureFile, swap(b.SignedBy, "000000000000"))
		}},
		"the signature of a key of the forger's": {"unknown_key", "", func(t *testing.T, v *Vault, b, _ *tenant.Backup) {
			k, err := parseSigningKey(keyOf(9))
			must(t, err)
			s, err := k.sign(fileOf(t, v, b, manifestFile))
			must(t, err)
			edit(t, v, b, signatureFile, func([]byte) []byte { return s })
		}},
	} {
		t.Run(what, func(t *testing.T) {
			url := t.TempDir()
			v := open(t, Config{URL: url, SigningKeys: []string{keyOf(1)}})
			b, other := makeBackup(t, v, tenantID, small), makeBackup(t, v, tenantID, map[string][]byte{"postgres/pre-data.sql": []byte("DROP TABLE x;\n")})
			c.forge(t, v, b, other)
			for signing, code := range map[string]string{SigningRequire: c.require, SigningAuto: c.auto} {
				got, err := readable(t, open(t, Config{URL: url, Signing: signing, SigningKeys: []string{keyOf(1)}}), b)
				var e *tenant.Error
				switch {
				case code == "" && (err != nil || got.SignedBy != ""):
					t.Errorf("%s: %+v, %v", signing, got, err)
				case code == "other parts":
					refused(t, err, tenant.ErrDiffers, "postgres/pre-data.sql")
				case code != "" && (!errors.As(err, &e) || e.Kind != tenant.ErrDiffers || e.Code != code):
					t.Errorf("%s: %v, want %s", signing, err, code)
				}
			}
		})
	}
}

func TestAManifestThatIsExchangedWhileItIsInUseIsRefused(t *testing.T) {
	v := open(t, Config{URL: t.TempDir()})
	b := makeBackup(t, v, uuid.New(), small)
	opened, err := v.Open(t.Context(), b.TenantID, b.ID)
	must(t, err)
	edit(t, v, b, manifestFile, func(s []byte) []byte { return append(s, '\n') })
	err = v.Read(t.Context(), opened, func(tenant.Part) (io.WriteCloser, error) { return nil, nil })
	refused(t, err, tenant.ErrDiffers, "changed while it was in use")
}

func TestKeysThatAreNoneAreRefusedWithoutShowingThem(t *testing.T) {
	for _, c := range []Config{
		{Signing: SigningRequire},
		{SigningKeys: []string{keyOf(1), "not base64 hunter2"}},
		{SigningKeys: []string{base64.StdEncoding.EncodeToString([]byte("hunter2"))}},
	} {
		c.URL = t.TempDir()
		_, err := OpenVault(t.Context(), c)
		if err == nil || strings.Contains(fmt.Sprint(err), "hunter2") || !errors.Is(err, tenant.ErrInvalid) {
			t.Errorf("%+v gives %v", c, err)
		}
	}
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func fileOf(t testing.TB, v *Vault, b *tenant.Backup, name string) []byte {
	t.Helper()
	text, err := os.ReadFile(v.store.path(folder(b.TenantID, b.ID) + name))
	must(t, err)
	return text
}

// edit changes a file of a backup in a folder.
func edit(t testing.TB, v *Vault, b *tenant.Backup, name string, change func([]byte) []byte) {
	t.Helper()
	before := fileOf(t, v, b, name)
	after := change(slices.Clone(before))
	if bytes.Equal(before, after) {
		t.Fatal("nothing was changed")
	}
	must(t, os.WriteFile(v.store.path(folder(b.TenantID, b.ID)+name), after, 0o600))
}

// move puts another backup's files in the place of a backup's; its manifest says that it is this one's.
func move(t testing.TB, v *Vault, b, other *tenant.Backup, names ...string) {
	t.Helper()
	for _, name := range names {
		edit(t, v, b, name, func([]byte) []byte {
			text := fileOf(t, v, other, name)
			if name == manifestFile {
				text = bytes.ReplaceAll(text, []byte(other.ID.String()), []byte(b.ID.String()))
			}
			return text
		})
	}
}

func swap(old, new string) func([]byte) []byte {
	return func(s []byte) []byte { return bytes.Replace(s, []byte(old), []byte(new), 1) }
}

func cutMAC(s []byte) []byte {
	before, _, _ := bytes.Cut(s, []byte(`"mac":"`))
	return append(slices.Clone(before), `"mac":""}`...)
}
