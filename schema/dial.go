package schema

import (
	"net"
	"time"
)

// A server or a network that has vanished is noticed after about deadAfter, whether something was sent or not.
const (
	deadAfter      = 30 * time.Second
	keepAliveAfter = 15 * time.Second
	keepAliveEvery = 5 * time.Second
)

// dialer connects to servers whose silence is noticed.
func dialer() *net.Dialer {
	return &net.Dialer{
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: keepAliveAfter, Interval: keepAliveEvery, Count: int((deadAfter - keepAliveAfter) / keepAliveEvery)},
		Control:         userTimeout,
	}
}
