package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"os"
	"path"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/smithy-go/logging"
	"gocloud.dev/blob"
	"gocloud.dev/blob/azureblob"
	"gocloud.dev/blob/gcsblob"
	"gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"
	"gocloud.dev/gcp"

	"github.com/tenantctl/tenantctl/tenant"
)

// Times that a store may take before it counts as gone.
const (
	silence   = 5 * time.Minute  // in which nothing moves
	openLimit = 30 * time.Second // for the first answer
)

// store is a place for files by key, of one of four kinds.
type store struct {
	bucket  *blob.Bucket
	name    string // URL without options, which may be secret
	scheme  string
	dir     string // of file://
	host    string // the bucket's name; empty for file://
	prefix  string // of every key; empty, or ends with a slash; never for file://, where it is part of dir
	silence time.Duration
}

const urlHint = "write file:///srv/backups or a path, s3://bucket/folder?region=eu-central-1, gs://bucket/folder or azblob://container/folder"

// openStore opens file://, s3://, gs:// and azblob:// URLs and paths of folders. A folder is made where the one it lies
// in is there. The path of a URL, and its option prefix, are a folder within the bucket.
func openStore(ctx context.Context, raw string, patience time.Duration) (*store, error) {
	if !strings.Contains(raw, "://") {
		if raw == "" {
			return nil, tenant.Invalid(urlHint, "the place for backups is empty")
		}
		return openFolder(raw, patience)
	}
	u, err := url.Parse(raw)
	if err != nil {
		return nil, tenant.Invalid(urlHint, "the place for backups is no URL") // the text of err shows secrets
	}
	q := u.Query()
	folder := path.Clean("/" + u.Path + "/" + q.Get("prefix"))[1:]
	q.Del("prefix")
	if u.User != nil {
		return nil, tenant.Invalid("leave user and password out; they come from the environment or the provider's own files", "the URL of the place for backups holds a user")
	}
	switch u.Scheme {
	case "file":
		return openFileURL(u, patience)
	case s3blob.Scheme, gcsblob.Scheme, azureblob.Scheme:
	default:
		return nil, tenant.Invalid(urlHint, "the place for backups has the unknown scheme %.20s", u.Scheme)
	}
	s := &store{scheme: u.Scheme, host: u.Host, silence: patience, name: u.Scheme + "://" + u.Host}
	if u.Host == "" {
		return nil, tenant.Invalid(urlHint, "%s:// names no bucket", u.Scheme)
	}
	ctx, cancel := context.WithTimeout(ctx, openLimit)
	defer cancel()
	bare := &url.URL{Scheme: u.Scheme, Host: u.Host, RawQuery: q.Encode()}
	if s.bucket, err = openBucket(ctx, bare); err != nil {
		return nil, s.failure("open "+s.name, err)
	}
	if folder != "" {
		s.prefix = folder + "/"
		s.name += "/" + folder
		s.bucket = blob.PrefixedBucket(s.bucket, s.prefix)
	}
	_, _, err = s.bucket.ListPage(ctx, blob.FirstPageToken, 1, nil)
	if absent(err) {
		return nil, &tenant.Error{
			Kind: tenant.ErrMissing, Code: "no_bucket", Store: storeName, Msg: s.name + " has no such bucket",
			Hint: "make it with the provider's own tool, or correct the URL; another region or endpoint has other buckets",
		}
	}
	if err != nil {
		return nil, s.failure("open "+s.name, err)
	}
	return s, nil
}

// openBucket does not use the drivers' own opener for gs, which prints warnings to stdout.
func openBucket(ctx context.Context, u *url.URL) (*blob.Bucket, error) {
	switch u.Scheme {
	case s3blob.Scheme:
		return openS3(ctx, u)
	case azureblob.Scheme:
		return blob.OpenBucket(ctx, u.String())
	}
	opener := gcsblob.URLOpener{Client: gcp.NewAnonymousHTTPClient(gcp.DefaultTransport())}
	emulated := os.Getenv("STORAGE_EMULATOR_HOST") != "" // Google's own client goes there, where nobody asks for credentials
	if q := u.Query(); !emulated && q.Get("anonymous") != "true" && q.Get("access_id") != "-" {
		creds, err := gcp.DefaultCredentials(ctx)
		if err != nil {
			return nil, fmt.Errorf("%w: %w", errCredentials, err)
		}
		opener.TokenSource = gcp.CredentialsTokenSource(creds)
		if opener.Client, err = gcp.NewHTTPClient(gcp.DefaultTransport(), opener.TokenSource); err != nil {
			return nil, err
		}
	}
	return opener.OpenBucketURL(ctx, u)
}

// openS3 opens a bucket by a client that writes no lines of its own to stderr: they would be beside our log, past its masks.
func openS3(ctx context.Context, u *url.URL) (*blob.Bucket, error) {
	// Sums of ours cover the whole file; the SDK has none for a file in pieces.
	const key = "response_checksum_validation"
	if q := u.Query(); !q.Has(key) {
		q.Set(key, "when_required")
		u.RawQuery = q.Encode()
	}
	var opener s3blob.URLOpener // which fills in its options from the URL
	loud, err := opener.OpenBucketURL(ctx, u)
	if err != nil {
		return nil, err
	}
	var client *s3.Client
	if !loud.As(&client) {
		return loud, nil
	}
	quiet := s3.New(client.Options(), func(o *s3.Options) { o.Logger = logging.Nop{} })
	return s3blob.OpenBucket(ctx, quiet, u.Host, &opener.Options)
}

func (s *store) Close() error { return s.bucket.Close() }

// object is a file of a store.
type object struct {
	key  string
	size int64
	at   time.Time // last written
}

// objects gives all files whose key begins with prefix, which is empty or ends with a slash, in the order of keys as
// folders have it.
func (s *store) objects(ctx context.Context, prefix string) iter.Seq2[object, error] {
	if s.dir != "" {
		return s.walk(ctx, prefix)
	}
	return func(yield func(object, error) bool) {
		for token := blob.FirstPageToken; token != nil; {
			page, next, err := s.page(ctx, prefix, token)
			if err != nil {
				yield(object{}, s.failure("list "+s.name, err))
				return
			}
			for _, o := range page {
				if !yield(object{o.Key, o.Size, o.ModTime}, nil) {
					return
				}
			}
			token = next
		}
	}
}

func (s *store) page(ctx context.Context, prefix string, token []byte) ([]*blob.ListObject, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, s.silence)
	defer cancel()
	return s.bucket.ListPage(ctx, token, 1000, &blob.ListOptions{Prefix: prefix})
}

// exists tells whether there is such a file.
func (s *store) exists(ctx context.Context, key string) (bool, error) {
	ctx, cancel := context.WithTimeout(ctx, s.silence)
	defer cancel()
	_, err := s.bucket.Attributes(ctx, key)
	if err != nil && !absent(err) {
		return false, s.failure("look for "+s.at(key), err)
	}
	return err == nil, nil
}

// read gives a small file whole. ErrNotFound where there is none.
func (s *store) read(ctx context.Context, key string, limit int64) ([]byte, error) {
	d, err := s.download(ctx, key)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	text, err := io.ReadAll(io.LimitReader(d, limit+1))
	if err != nil {
		return nil, err
	}
	if int64(len(text)) > limit {
		return nil, damaged("%s has more than %d bytes", s.at(key), limit)
	}
	return text, nil
}

// write stores a small file.
func (s *store) write(ctx context.Context, key, kind string, text []byte) error {
	u, err := s.upload(ctx, key, kind, 0)
	if err != nil {
		return err
	}
	_, err = u.Write(text)
	if err == nil {
		err = u.Close()
	}
	if err != nil {
		u.abort()
		return s.failure("write "+s.at(key), err)
	}
	return nil
}

// errTaken: somebody else stored a file under the key before.
var errTaken = errors.New("taken")

// writeOnce stores a small file under a key that is free, or is errTaken; of two at once one wins.
func (s *store) writeOnce(ctx context.Context, key, kind string, text []byte) error {
	if s.dir != "" {
		return s.linkOnce(key, text)
	}
	ctx, cancel := context.WithTimeout(ctx, s.silence)
	defer cancel()
	err := s.bucket.WriteAll(ctx, key, text, &blob.WriterOptions{ContentType: kind, IfNotExist: true})
	if gcerrors.Code(err) == gcerrors.FailedPrecondition {
		return errTaken
	}
	if err != nil {
		return s.failure("write "+s.at(key), err)
	}
	return nil
}

// remove takes a file away; absent is success.
func (s *store) remove(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, s.silence)
	defer cancel()
	if err := s.bucket.Delete(ctx, key); err != nil && !absent(err) {
		return s.failure("remove "+s.at(key), err)
	}
	return nil
}

// at is where a file lies, for people.
func (s *store) at(key string) string { return s.name + "/" + key }
