package ssh

import (
	"fmt"
	"regexp"
	"strings"
)

var sysctlPattern = regexp.MustCompile(`^[A-Za-z0-9_*-]+([./][A-Za-z0-9_:@-]+)+$`)

// sysctlPath gives the place of a setting below /proc/sys. As sysctl(8) does,
// the first separator says which one it is: in net.ipv4.conf.eth0/1.forwarding
// a slash stands for a dot.
func sysctlPath(name string) (string, error) {
	if !sysctlPattern.MatchString(name) || strings.Contains(name, "*") {
		return "", fmt.Errorf("%q is no name of a kernel setting", clip(name))
	}
	if i := strings.IndexAny(name, "./"); name[i] == '.' {
		name = strings.Map(func(r rune) rune {
			switch r {
			case '.':
				return '/'
			case '/':
				return '.'
			}
			return r
		}, name)
	}
	for part := range strings.SplitSeq(name, "/") {
		if part == "" || part == "." || part == ".." {
			return "", fmt.Errorf("%q is no name of a kernel setting", clip(name))
		}
	}
	return name, nil
}

// sysctlFile is the file that keeps a setting over a reboot.
func sysctlFile(name string) string {
	return "/etc/sysctl.d/60-trueup-" + strings.ReplaceAll(name, "/", "_") + ".conf"
}

// sysctlValue is a value in one spelling: the kernel separates with tabs.
func sysctlValue(s string) string { return strings.Join(strings.Fields(s), " ") }
