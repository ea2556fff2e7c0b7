package archive

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/uuid"

	"github.com/tenantctl/tenantctl/tenant"
	"github.com/tenantctl/tenantctl/tenant/tenanttest"
)

var small = map[string][]byte{"postgres/pre-data.sql": []byte("CREATE TABLE x ();\n")}

func TestAWrongKeyIsRefusedAndTheRightOneNamed(t *testing.T) {
	dir := t.TempDir()
	mine, file := identity(t)
	_, others := identity(t)
	for _, perTenant := range []bool{false, true} {
		b := makeBackup(t, open(t, Config{URL: dir, Recipients: []string{mine}, KeyPerTenant: perTenant}), uuid.New(), small)
		err := verify(t.Context(), open(t, Config{URL: dir, IdentityFile: others}), b)
		refused(t, err, tenant.ErrInvalid, "none of the identities opens")
		if !perTenant {
			refused(t, err, tenant.ErrInvalid, mine)
		}
		refused(t, verify(t.Context(), open(t, Config{URL: dir}), b), tenant.ErrInvalid, "no identity is given")
		refused(t, verify(t.Context(), open(t, Config{URL: dir, IdentityFile: dir + "/none"}), b), tenant.ErrInvalid, dir+"/none")
		if err := verify(t.Context(), open(t, Config{URL: dir, IdentityFile: file}), b); err != nil {
			t.Error(err)
		}
	}
}

func TestAnIdentityThatCannotBeReadIsNotQuoted(t *testing.T) {
	dir := t.TempDir()
	mine, file := identity(t)
	b := makeBackup(t, open(t, Config{URL: dir, Recipients: []string{mine}}), uuid.New(), small)
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, append(bytes.TrimSpace(text), 'X'), 0o600); err != nil {
		t.Fatal(err)
	}
	err = verify(t.Context(), open(t, Config{URL: dir, IdentityFile: file}), b)
	refused(t, err, tenant.ErrInvalid, file)
	if strings.Contains(err.Error(), "SECRET") {
		t.Errorf("%v quotes a secret", err)
	}
}

func TestRecipientsThatAreNoneAreRefused(t *testing.T) {
	mine, file := identity(t)
	secret, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	_, key, _ := strings.Cut(strings.TrimSpace(string(secret)), "\n")
	for _, bad := range []string{"", "age1", "acme", mine + "x", key} {
		_, err := OpenVault(t.Context(), Config{URL: t.TempDir(), Recipients: []string{bad}})
		refused(t, err, tenant.ErrInvalid)
		if strings.Contains(err.Error(), "AGE-SECRET") {
			t.Errorf("%v quotes a secret", err)
		}
	}
	_, err = OpenVault(t.Context(), Config{URL: t.TempDir(), KeyPerTenant: true})
	refused(t, err, tenant.ErrInvalid, "recipients")
}

func TestEachOfSeveralRecipientsOpensABackup(t *testing.T) {
	dir := t.TempDir()
	one, oneFile := identity(t)
	two, twoFile := identity(t)
	for _, perTenant := range []bool{false, true} {
		b := makeBackup(t, open(t, Config{URL: dir, Recipients: []string{one, two}, KeyPerTenant: perTenant}), uuid.New(), small)
		for _, file := range []string{oneFile, twoFile} {
			if err := verify(t.Context(), open(t, Config{URL: dir, IdentityFile: file}), b); err != nil {
				t.Error(err)
			}
		}
	}
}

func TestATenantHasOneKeyHoweverManyMakeItAtOnce(t *testing.T) {
	everywhere(t, func(t *testing.T, url string) {
		mine, file := identity(t)
		acme := uuid.New()
		var mu sync.Mutex
		seen := map[string]bool{}
		var wg sync.WaitGroup
		for range 8 {
			v := open(t, Config{URL: url, Recipients: []string{mine}, KeyPerTenant: true, IdentityFile: file})
			wg.Add(1)
			go func() {
				defer wg.Done()
				r, err := v.tenantKey(t.Context(), acme)
				if err != nil {
					t.Error(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				seen[r.String()] = true
			}()
		}
		wg.Wait()
		if len(seen) != 1 {
			t.Errorf("the tenant has the keys %v", seen)
		}
	})
}

func TestADestroyedKeyMakesTheTenantsBackupsUnreadableAndNoOthers(t *testing.T) {
	everywhere(t, func(t *testing.T, url string) {
		mine, file := identity(t)
		for name, keys := range map[string]string{"beside the backups": "", "in a place of their own": t.TempDir()} {
			t.Run(name, func(t *testing.T) {
				v := open(t, Config{URL: url, KeysURL: keys, Recipients: []string{mine}, KeyPerTenant: true, IdentityFile: file})
				acme, other := makeBackup(t, v, uuid.New(), small), makeBackup(t, v, uuid.New(), small)
				if err := errors.Join(verify(t.Context(), v, acme), verify(t.Context(), v, other)); err != nil {
					t.Fatal(err)
				}
				for _, want := range []bool{true, false} {
					if had, err := v.DropKey(t.Context(), acme.TenantID); err != nil || had != want {
						t.Fatalf("there was a key: %v, %v", had, err)
					}
				}
				refused(t, verify(t.Context(), v, acme), tenant.ErrMissing, acme.TenantID.String(), "gone")
				if err := verify(t.Context(), v, other); err != nil {
					t.Error(err)
				}
				// A new key does not open what the old one closed.
				again := makeBackup(t, v, acme.TenantID, small)
				if err := verify(t.Context(), v, again); err != nil {
					t.Error(err)
				}
				refused(t, verify(t.Context(), v, acme), tenant.ErrInvalid, "none of the identities opens it")
			})
		}
	})
}

func TestAgeItselfOpensATenantsKey(t *testing.T) {
	program, err := exec.LookPath("age")
	if err != nil {
		t.Fatal("age is missing; build it with make bin/tools, and put bin/tools on PATH")
	}
	mine, file := identity(t)
	dir := t.TempDir()
	v := open(t, Config{URL: dir, Recipients: []string{mine}, KeyPerTenant: true})
	b := makeBackup(t, v, uuid.New(), small)
	out, err := exec.Command(program, "-d", "-i", file, filepath.Join(dir, filepath.FromSlash(keyObject(b.TenantID)))).CombinedOutput()
	if err != nil || !strings.Contains(string(out), "AGE-SECRET-KEY-1") {
		t.Errorf("age gives %v", err)
	}
}

func TestADamagedTenantKeyIsRefused(t *testing.T) {
	dir := t.TempDir()
	mine, file := identity(t)
	v := open(t, Config{URL: dir, Recipients: []string{mine}, KeyPerTenant: true, IdentityFile: file})
	b := makeBackup(t, v, uuid.New(), small)
	name := v.keys.path(keyObject(b.TenantID))
	key, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	for i := range key {
		bad := bytes.Clone(key)
		bad[i] ^= 4
		if err := os.WriteFile(name, bad, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := verify(t.Context(), v, b); err == nil {
			t.Errorf("with byte %d changed it is read", i)
		}
	}
	if err := os.WriteFile(name, []byte("nothing"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err = v.Create(t.Context(), newBackup(b.TenantID), 0)
	refused(t, err, tenant.ErrDiffers, keyObject(b.TenantID))
}

func TestADestroyedKeyIsGoneInAllItsVersions(t *testing.T) {
	server := tenanttest.S3(t)
	server.LetIn(t)
	mine, _ := identity(t)
	v := open(t, Config{URL: server.URL("backups/folder"), Recipients: []string{mine}, KeyPerTenant: true})
	bucket := "backups"
	_, err := v.keys.s3().PutBucketVersioning(t.Context(), &s3.PutBucketVersioningInput{Bucket: &bucket, VersioningConfiguration: &types.VersioningConfiguration{Status: types.BucketVersioningStatusEnabled}})
	if err != nil {
		t.Fatal(err)
	}
	versions := func() int {
		prefix := "folder/keys/"
		page, err := v.keys.s3().ListObjectVersions(t.Context(), &s3.ListObjectVersionsInput{Bucket: &bucket, Prefix: &prefix})
		if err != nil {
			t.Fatal(err)
		}
		return len(page.Versions)
	}
	acme := uuid.New()
	if _, err := v.tenantKey(t.Context(), acme); err != nil {
		t.Fatal(err)
	}
	if n := versions(); n != 1 {
		t.Fatalf("there are %d versions of a new key", n)
	}
	if had, err := v.DropKey(t.Context(), acme); err != nil || !had {
		t.Fatalf("there was a key: %v, %v", had, err)
	}
	if n := versions(); n != 0 {
		t.Errorf("%d versions of the key are left", n)
	}
}
