package ssh

import "time"

// SetIdle sets how long a connection is kept that nobody uses.
func (p *Pool) SetIdle(d time.Duration) { p.idle = d }
