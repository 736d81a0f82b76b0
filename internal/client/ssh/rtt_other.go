//go:build !linux

package ssh

import (
	"net"
	"time"
)

func roundTrip(net.Conn) time.Duration { return 0 }
