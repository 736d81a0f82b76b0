package ssh

import (
	"net"
	"time"

	"golang.org/x/sys/unix"
)

// roundTrip asks the kernel how long a packet to the other side and back takes
// at best; 0 where it does not know.
func roundTrip(c net.Conn) time.Duration {
	tcp, ok := c.(*net.TCPConn)
	if !ok {
		return 0
	}
	raw, err := tcp.SyscallConn()
	if err != nil {
		return 0
	}
	var rtt uint32
	_ = raw.Control(func(fd uintptr) {
		if info, err := unix.GetsockoptTCPInfo(int(fd), unix.IPPROTO_TCP, unix.TCP_INFO); err == nil {
			rtt = info.Min_rtt
		}
	})
	return time.Duration(rtt) * time.Microsecond
}
