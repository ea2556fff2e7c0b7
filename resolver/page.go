package resolver

import (
	"html/template"
	"net/http"
	"strings"
)

// words are what a visitor reads. Why a request is refused is for the operator, but for the reason of a suspension.
var words = map[int][2]string{
	http.StatusBadRequest:         {"Bad request", "The address of this request cannot be read."},
	http.StatusUnauthorized:       {"Not signed in", "The request's token is not valid."},
	http.StatusForbidden:          {"Suspended", "This service is suspended."},
	http.StatusNotFound:           {"Not found", "There is no service at this address."},
	http.StatusMisdirectedRequest: {"Wrong address", "The request's parts lead to different services."},
	http.StatusServiceUnavailable: {"Back in a moment", "This service will be back in a moment."},
	http.StatusTemporaryRedirect:  {"Moved", "This service has another address."},
	http.StatusPermanentRedirect:  {"Moved", "This service has another address."},
}

var page = template.Must(template.New("page").Parse(`<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{{.Title}}</title><style>
body{font:1.05rem/1.55 system-ui,"DejaVu Sans",sans-serif;margin:0;padding:16vh 1.5rem 0}
body,.why{color:#1d2330;background:#f4f5f7}
main{max-width:31rem;margin:0 auto;padding:2rem 2.25rem;background:#fff;border:1px solid #e1e4ea;border-radius:.9rem}
h1{font-size:1.5rem;line-height:1.25;margin:.2rem 0 .6rem}p{margin:.6rem 0}small{color:#667085;letter-spacing:.04em}
.why{padding:.7rem 1rem;margin:1.1rem 0 .4rem;border-left:.25rem solid #98a1b2;border-radius:.3rem}
a{color:inherit}.why,a{overflow-wrap:anywhere}
@media(prefers-color-scheme:dark){body,.why{color:#e7e9ee;background:#12151b}
main{background:#1b1f27;border-color:#2d333f}small{color:#98a1b2}}
</style></head><body><main><small>{{.Status}}</small><h1>{{.Title}}</h1><p>{{.Text}}</p>
{{with .Message}}<p class="why">{{.}}</p>{{end}}{{with .Location}}<p><a href="{{.}}">{{.}}</a></p>{{end}}
</main></body></html>
`))

// refuse tells a visitor, or the proxy in the visitor's place, that the request is not served.
func refuse(w http.ResponseWriter, r *http.Request, a Answer) {
	h := w.Header()
	h.Set("Cache-Control", "no-store")
	h.Set("X-Tenant-Reason", printable(a.Reason))
	if a.Location != "" {
		h.Set("Location", a.Location)
	}
	if a.RetryAfter > 0 {
		h.Set("Retry-After", seconds(a.RetryAfter))
	}
	text := words[a.Status]
	if !strings.Contains(r.Header.Get("Accept"), "text/html") {
		message := text[1]
		if a.Message != "" {
			message += " " + a.Message
		}
		plain(w, a.Status, message)
		return
	}
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	w.WriteHeader(a.Status)
	// Whoever hangs up has no use for the page.
	_ = page.Execute(
		w,
		map[string]any{"Status": a.Status, "Title": text[0], "Text": text[1], "Message": a.Message, "Location": a.Location},
	)
}

func plain(w http.ResponseWriter, status int, text string) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write([]byte(text + "\n")) // whoever hangs up has no use for it
}

// printable is a text for a header: one line of ASCII.
func printable(s string) string {
	return strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return '?'
		}
		return c
	}, s)
}
