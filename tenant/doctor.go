package tenant

import (
	"fmt"
	"time"
)

// Statuses of a Check.
const (
	CheckOK      = "ok"
	CheckWarning = "warning" // it works, and will hurt one day
	CheckError   = "error"   // a command will fail
)

// Check is one answer of a store to what tenantctl needs of it.
type Check struct {
	Store   string `json:"store"`
	Name    string `json:"name"`
	Status  string `json:"status"` // one of the Check constants
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"` // the statement or setting that would help
}

// skewAllowed is how far two clocks may be apart before it matters to what is kept until a time.
const skewAllowed = 5 * time.Second

// ClockCheck compares a server's clock with this machine's, which was read before and after the server was asked.
func ClockCheck(store string, server, before, after time.Time) Check {
	c := Check{Store: store, Name: "clock", Status: CheckOK, Message: "is that of this machine"}
	ahead := time.Duration(0)
	switch {
	case server.Before(before):
		ahead = before.Sub(server)
	case server.After(after):
		ahead = after.Sub(server)
	}
	if ahead.Abs() > skewAllowed {
		c.Status, c.Hint = CheckWarning, "let both keep time by NTP (timedatectl set-ntp true): leases and what is kept until a time go by the server's clock"
		c.Message = fmt.Sprintf("the server's is %s behind this machine's", ahead.Round(time.Second))
		if ahead < 0 {
			c.Message = fmt.Sprintf("the server's is %s ahead of this machine's", -ahead.Round(time.Second))
		}
	}
	return c
}
