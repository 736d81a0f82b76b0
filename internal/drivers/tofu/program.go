package tofu

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	goversion "github.com/hashicorp/go-version"

	"trueup.dev/trueup/internal/driver"
)

func itoa(i int) string { return strconv.Itoa(i) }

// program is OpenTofu's or Terraform's, with its full path.
type program string

// findProgram looks a program up.
func findProgram(given, base string) (program, error) {
	if given == "" {
		given = "tofu"
	}
	if strings.ContainsRune(given, filepath.Separator) {
		given = within(base, given)
	}
	p, err := exec.LookPath(given)
	if err != nil {
		return "", fmt.Errorf("%w: install it, or give its path", err)
	}
	p, err = filepath.Abs(p)
	return program(p), err
}

// programVersion is what the program says of itself.
type programVersion struct {
	number *goversion.Version
	name   string // OpenTofu or Terraform
}

// version asks the program, without any of trueup's own environment.
func (p program) version(ctx context.Context) (programVersion, error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	var out, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, string(p), "version", "-json")
	cmd.Env = []string{"CHECKPOINT_DISABLE=1", "PATH=" + searchPath, "TF_CLI_CONFIG_FILE=/dev/null"}
	cmd.Stdout, cmd.Stderr = &out, &stderr
	cmd.Dir = "/"
	if err := cmd.Run(); err != nil {
		return programVersion{}, fmt.Errorf("%s version: %w: %s", p, err, firstLine(stderr.String()))
	}
	var v struct {
		Version string `json:"terraform_version"`
		Raw     string `json:"tofu_version"`
	}
	if err := json.Unmarshal(out.Bytes(), &v); err != nil {
		return programVersion{}, fmt.Errorf("%s version: %w", p, err)
	}
	number, err := goversion.NewVersion(v.Version)
	if err != nil {
		return programVersion{}, fmt.Errorf("%s version: %w", p, err)
	}
	name := "Terraform"
	if strings.Contains(filepath.Base(string(p)), "tofu") {
		name = "OpenTofu"
	}
	return programVersion{number: number, name: name}, nil
}

// allows checks a target's constraint.
func (v programVersion) allows(constraint string) error {
	if constraint == "" {
		return nil
	}
	c, err := goversion.NewConstraint(constraint)
	if err != nil {
		return driver.Permanent(fmt.Errorf("spec.version: %w", err))
	}
	if !c.Check(v.number) {
		return driver.Permanent(fmt.Errorf("spec.version: the target asks for %s, the environment has %s %s", constraint, v.name, v.number))
	}
	return nil
}

func firstLine(s string) string {
	s, _, _ = strings.Cut(strings.TrimSpace(s), "\n")
	return s
}
