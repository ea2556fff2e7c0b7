package tenant

import (
	"strings"
	"testing"
	"time"
)

func TestClocksThatAreApartAreTold(t *testing.T) {
	before := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	after := before.Add(3 * time.Second) // the answer took so long
	for ahead, want := range map[time.Duration]string{
		-time.Minute: "the server's is 1m0s behind", -4 * time.Second: "is that of this machine", time.Second: "is that of this machine",
		7 * time.Second: "is that of this machine", 13 * time.Second: "the server's is 10s ahead",
	} {
		c := ClockCheck(KindPostgres, before.Add(ahead), before, after)
		if !strings.HasPrefix(c.Message, want) || (c.Status == CheckOK) != (c.Hint == "") {
			t.Errorf("%s ahead: %+v", ahead, c)
		}
	}
}
