package archive

import (
	"context"
	"errors"
	"iter"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

// s3 gives the client of an S3 store, or nil. Only there do the pieces of an upload that never ended stay until somebody
// asks for them, and are paid for; Google and Azure drop them after a week.
func (s *store) s3() *s3.Client {
	var client *s3.Client
	if s.bucket.As(&client) {
		return client
	}
	return nil
}

// unended is an upload that somebody began and did not end.
type unended struct {
	object
	id string
}

// uploads gives the uploads below prefix that were begun and neither ended nor given up.
func (s *store) uploads(ctx context.Context, prefix string) iter.Seq2[unended, error] {
	return func(yield func(unended, error) bool) {
		client := s.s3()
		if client == nil {
			return
		}
		pages := s3.NewListMultipartUploadsPaginator(client, &s3.ListMultipartUploadsInput{Bucket: &s.host, Prefix: aws.String(s.prefix + prefix)})
		for pages.HasMorePages() {
			page, err := func() (*s3.ListMultipartUploadsOutput, error) {
				ctx, cancel := context.WithTimeout(ctx, s.silence)
				defer cancel()
				return pages.NextPage(ctx)
			}()
			if err != nil {
				yield(unended{}, s.failure("list the uploads in "+s.name, err))
				return
			}
			for _, u := range page.Uploads {
				key := strings.TrimPrefix(aws.ToString(u.Key), s.prefix)
				if !yield(unended{object{key: key, at: aws.ToTime(u.Initiated)}, aws.ToString(u.UploadId)}, nil) {
					return
				}
			}
		}
	}
}

// abortUploads drops the pieces of uploads below prefix. A piece that is still on its way when its upload is dropped can
// bring it back: it is asked for until none is there.
func (s *store) abortUploads(ctx context.Context, prefix string) error {
	for pause := 50 * time.Millisecond; ; pause *= 2 {
		found := false
		for u, err := range s.uploads(ctx, prefix) {
			if err != nil {
				return err
			}
			found = true
			if err := s.abortUpload(ctx, u); err != nil {
				return err
			}
		}
		if !found || pause > time.Second {
			return nil
		}
		select {
		case <-time.After(pause):
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

func (s *store) abortUpload(ctx context.Context, u unended) error {
	ctx, cancel := context.WithTimeout(ctx, s.silence)
	defer cancel()
	_, err := s.s3().AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: &s.host, Key: aws.String(s.prefix + u.key), UploadId: &u.id})
	var gone *types.NoSuchUpload
	if err != nil && !errors.As(err, &gone) {
		return s.failure("drop the upload of "+s.at(u.key), err)
	}
	return nil
}

// forget removes a file with all the versions of it that an S3 store keeps.
func (s *store) forget(ctx context.Context, key string) error {
	if err := s.remove(ctx, key); err != nil {
		return err
	}
	client := s.s3()
	if client == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, s.silence)
	defer cancel()
	full := s.prefix + key
	pages := s3.NewListObjectVersionsPaginator(client, &s3.ListObjectVersionsInput{Bucket: &s.host, Prefix: &full})
	for pages.HasMorePages() {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return s.failure("list the versions of "+s.at(key), err)
		}
		for _, o := range page.Versions {
			if aws.ToString(o.Key) != full {
				continue
			}
			if _, err := client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &s.host, Key: &full, VersionId: o.VersionId}); err != nil {
				return s.failure("remove a version of "+s.at(key), err)
			}
		}
	}
	return nil
}
