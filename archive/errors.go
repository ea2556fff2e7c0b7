package archive

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"syscall"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/aws/smithy-go"
	"gocloud.dev/blob/azureblob"
	"gocloud.dev/blob/gcsblob"
	"gocloud.dev/blob/s3blob"
	"gocloud.dev/gcerrors"
	"google.golang.org/api/googleapi"

	"github.com/tenantctl/tenantctl/tenant"
)

// storeName stands before what a person sees of a failure here.
const storeName = "backups"

var errCredentials = errors.New("no credentials")

// damaged is for what is there, but not as it was written. It names the part.
func damaged(text string, args ...any) error {
	return &tenant.Error{
		Kind: tenant.ErrDiffers, Code: "damaged_backup", Store: storeName, Msg: fmt.Sprintf(text, args...),
		Hint: "use another backup of the tenant: tenantctl backup list",
	}
}

// failure says what a store refused, without what its driver may quote of secrets.
func (s *store) failure(doing string, err error) error {
	var known *tenant.Error
	if errors.As(err, &known) {
		return err
	}
	if errors.Is(err, context.Canceled) {
		return fmt.Errorf("%s: %w", doing, context.Canceled)
	}
	e := &tenant.Error{Store: storeName, Msg: doing + ": " + reason(err), Err: err}
	switch {
	case refusedCredentials(err):
		e.Kind, e.Code, e.Hint = tenant.ErrRights, "credentials", s.credentialsHint()
	case gcerrors.Code(err) == gcerrors.PermissionDenied, status(err) == 401, status(err) == 403:
		e.Kind, e.Hint = tenant.ErrRights, "the credentials must be those of this store, and allowed to list, read, write and delete there"
	case errors.Is(err, fs.ErrPermission):
		e.Kind, e.Hint = tenant.ErrRights, "let the user that tenantctl runs as write there"
	case s.dir == "" && gone(err):
		e.Kind, e.Hint = tenant.ErrUnreachable, "is the store reachable from here, and the URL right?"
	case errors.Is(err, syscall.ENOSPC), errors.Is(err, syscall.EDQUOT):
		e.Code, e.Hint = "disk_full", "make room: tenantctl backup prune --dry-run shows what a policy would remove"
	case strings.Contains(err.Error(), "Missing Region"):
		e.Kind, e.Hint = tenant.ErrInvalid, "add ?region=NAME to the URL, or set AWS_REGION"
	case strings.Contains(err.Error(), "query parameter"):
		e.Kind, e.Hint = tenant.ErrInvalid, "correct the options of the URL"
	}
	return e
}

// gone tells that a store did not answer, or broke off.
func gone(err error) bool {
	var silent errSilent
	var network *net.OpError
	var name *net.DNSError
	var request *url.Error
	return errors.As(err, &silent) || errors.As(err, &network) || errors.As(err, &name) || errors.As(err, &request) ||
		errors.Is(err, context.DeadlineExceeded) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF)
}

// status is that of the HTTP answer, or 0.
func status(err error) int {
	var answer interface{ HTTPStatusCode() int }
	var google *googleapi.Error
	switch {
	case errors.As(err, &answer):
		return answer.HTTPStatusCode()
	case errors.As(err, &google):
		return google.Code
	}
	return 0
}

// absent tells that there is no such file or bucket. Google's driver says so too of what the credentials do not allow, and
// a file that may not be removed must not pass for one that is gone.
func absent(err error) bool {
	return gcerrors.Code(err) == gcerrors.NotFound && status(err) != http.StatusForbidden
}

// reason is the provider's own short word for it, or the innermost cause; what lies around that quotes URLs.
func reason(err error) string {
	var api smithy.APIError
	var azure *azcore.ResponseError
	var google *googleapi.Error
	var silent errSilent
	var dns *net.DNSError
	var errno syscall.Errno
	switch {
	case errors.As(err, &silent):
		return silent.Error()
	case errors.Is(err, errCredentials), noCredentials(err):
		return errCredentials.Error()
	case errors.As(err, &api):
		if m := api.ErrorMessage(); m != "" && m != api.ErrorCode() {
			return api.ErrorCode() + ": " + m
		}
		return api.ErrorCode()
	case errors.As(err, &azure):
		return fmt.Sprintf("%s (status %d)", azure.ErrorCode, azure.StatusCode)
	case errors.As(err, &google):
		return fmt.Sprintf("%s (status %d)", google.Message, google.Code)
	case errors.As(err, &dns):
		return "no such host " + dns.Name
	case errors.As(err, &errno):
		return errno.Error()
	case errors.Is(err, context.DeadlineExceeded):
		return "no answer in time"
	case errors.Is(err, io.ErrUnexpectedEOF), errors.Is(err, io.EOF):
		return "the connection broke off"
	}
	return innermost(err)
}

// innermost is the text of the first cause.
func innermost(err error) string {
	for {
		var inner error
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			inner = e.Unwrap()
		case interface{ Unwrap() []error }:
			if all := e.Unwrap(); len(all) > 0 {
				inner = all[0]
			}
		}
		if inner == nil {
			return err.Error()
		}
		err = inner
	}
}

// noCredentials: the SDKs have no error of their own for having found none.
func noCredentials(err error) bool {
	text := err.Error()
	return strings.Contains(text, "get credentials") || strings.Contains(text, "DefaultAzureCredential: failed to acquire a token")
}

func refusedCredentials(err error) bool {
	if errors.Is(err, errCredentials) || noCredentials(err) {
		return true
	}
	var api smithy.APIError
	if errors.As(err, &api) {
		switch api.ErrorCode() {
		case "InvalidAccessKeyId", "XAdminUserNotFound", "SignatureDoesNotMatch", "ExpiredToken", "InvalidToken", "TokenRefreshRequired":
			return true
		}
	}
	var azure *azcore.ResponseError
	if errors.As(err, &azure) && azure.ErrorCode == "AuthenticationFailed" {
		return true
	}
	var google *googleapi.Error
	return errors.As(err, &google) && google.Code == 401
}

func (s *store) credentialsHint() string {
	switch s.scheme {
	case s3blob.Scheme:
		return "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or AWS_PROFILE, to those of this store"
	case gcsblob.Scheme:
		return "set GOOGLE_APPLICATION_CREDENTIALS to the key file of a service account"
	case azureblob.Scheme:
		return "set AZURE_STORAGE_ACCOUNT and AZURE_STORAGE_KEY or AZURE_STORAGE_SAS_TOKEN"
	}
	return ""
}
