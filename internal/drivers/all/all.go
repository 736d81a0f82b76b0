// Package all is the explicit list of the drivers that trueup has.
package all

import (
	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/drivers/dns"
	"trueup.dev/trueup/internal/drivers/exec"
	"trueup.dev/trueup/internal/drivers/files"
	"trueup.dev/trueup/internal/drivers/kubernetes"
	"trueup.dev/trueup/internal/drivers/rest"
	"trueup.dev/trueup/internal/drivers/sftp"
	"trueup.dev/trueup/internal/drivers/ssh"
	"trueup.dev/trueup/internal/drivers/tofu"
)

// Registry gives every driver by its name.
func Registry() driver.Registry {
	return driver.Registry{
		"dns":        dns.New(),
		"exec":       exec.New(),
		"files":      files.New(),
		"http":       rest.New(),
		"kubernetes": kubernetes.New(),
		"ssh":        ssh.New(),
		"sftp":       sftp.New(),
		"tofu":       tofu.New(),
	}
}
