package ssh

import (
	"strconv"
	"strings"
)

// Facts is what a host says it is. Templates see it as .facts.
type Facts struct {
	Hostname string `json:"hostname"`
	// Machine is the content of /etc/machine-id.
	Machine string `json:"machineId,omitempty"`
	// Boot changes with every start of the host.
	Boot string `json:"bootId,omitempty"`
	// HostKey is the host's own ed25519 key as it stands in /etc/ssh.
	HostKey string `json:"-"`
	Kernel  Kernel `json:"kernel"`
	OS      OS     `json:"os"`
	// CPUs and Memory (in bytes) are 0 where the host does not say.
	CPUs   int   `json:"cpus"`
	Memory int64 `json:"memory"`
	// Init is systemd, or empty.
	Init string `json:"init,omitempty"`
	// UID and User are who changes the host: root, or who logged in.
	UID  int    `json:"-"`
	User string `json:"-"`
	// Login is who logs in over SSH, whom sudo makes another; "" for nobody.
	Login string          `json:"-"`
	Tools map[string]bool `json:"-"`
}

// Kernel is what uname says.
type Kernel struct {
	Name    string `json:"name"`
	Release string `json:"release"`
	Arch    string `json:"arch"` // as Go and container images call it
	Machine string `json:"machine"`
}

// OS is what /etc/os-release says.
type OS struct {
	ID       string   `json:"id"`
	Like     []string `json:"like,omitempty"`
	Version  string   `json:"version"`
	Codename string   `json:"codename,omitempty"`
	Name     string   `json:"name"`
}

// has tells whether the host has a program.
func (f *Facts) has(tool string) bool { return f.Tools[tool] }

// works tells that somebody is who changes the host, or logs in for it.
func (f *Facts) works(name string) bool { return name == f.User || name == f.Login }

var archs = map[string]string{"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "armv6l": "arm", "i686": "386", "i386": "386"}

// parseFacts reads what the shell function facts printed. What it does not
// know it leaves out.
func parseFacts(text string) *Facts {
	f := &Facts{UID: -1, Tools: map[string]bool{}}
	for line := range strings.Lines(text) {
		key, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), " ")
		switch key {
		case "uid":
			if n, err := strconv.Atoi(value); err == nil {
				f.UID = n
			}
		case "user":
			f.User = value
		case "hostname":
			f.Hostname = value
		case "machine":
			f.Machine = strings.TrimSpace(value)
		case "boot":
			f.Boot = value
		case "hostkey":
			f.HostKey = value
		case "init":
			f.Init = value
		case "cpus":
			f.CPUs, _ = strconv.Atoi(value)
		case "memory":
			if kb, _, _ := strings.Cut(value, " "); kb != "" {
				n, _ := strconv.ParseInt(kb, 10, 53)
				f.Memory = n << 10
			}
		case "tool":
			f.Tools[value] = true
		case "kernel":
			f.kernel(strings.Fields(value))
		case "os":
			f.os(value)
		}
	}
	return f
}

func (f *Facts) kernel(w []string) {
	if len(w) < 3 {
		return
	}
	f.Kernel = Kernel{Name: w[0], Release: w[1], Machine: w[len(w)-1], Arch: w[len(w)-1]}
	if a := archs[f.Kernel.Machine]; a != "" {
		f.Kernel.Arch = a
	}
}

// os reads one line of os-release: KEY=value, maybe in quotes.
func (f *Facts) os(line string) {
	key, value, ok := strings.Cut(line, "=")
	if !ok {
		return
	}
	if n := len(value); n >= 2 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
		value = value[1 : n-1]
	}
	switch key {
	case "ID":
		f.OS.ID = value
	case "ID_LIKE":
		f.OS.Like = strings.Fields(value)
	case "VERSION_ID":
		f.OS.Version = value
	case "VERSION_CODENAME":
		f.OS.Codename = value
	case "PRETTY_NAME":
		f.OS.Name = value
	}
}
