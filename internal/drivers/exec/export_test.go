package exec

import "time"

// DecodeForFuzz reads a report; it must not panic.
func DecodeForFuzz(raw []byte) { _, _ = decodeReport(raw) }

// ReplaceProgram fills in a preset's commands with another program.
func ReplaceProgram(c *Connect, program string) {
	full := c.filled()
	for _, n := range []string{"plan", "apply", "destroy", "outputs"} {
		if args := full.command(n); len(args) > 0 {
			*c.commandOf(n) = append([]string{program}, args[1:]...)
		}
	}
}

// PollJenkins sets how often Jenkins is asked.
func PollJenkins(d time.Duration) { jenkinsPoll = d }
