package ssh

import (
	"fmt"
	"strings"
)

// pkg is a package as a package manager's own records have it.
type pkg struct {
	Installed bool
	// Broken tells that it is neither installed nor removed: half configured.
	Broken  bool
	Version string
	Held    bool
}

// dpkgFormat is what is asked of dpkg-query.
const dpkgFormat = `${Package}\t${Architecture}\t${db:Status-Want}\t${db:Status-Eflag}\t${db:Status-Status}\t${Version}\n`

// parseDpkg reads dpkg-query's answer. A package of several architectures is
// found as NAME:ARCH, and as NAME if one of them is installed.
func parseDpkg(text string) (map[string]pkg, error) {
	out := map[string]pkg{}
	for line := range strings.Lines(text) {
		f := strings.Split(strings.TrimSuffix(line, "\n"), "\t")
		if len(f) != 6 || f[0] == "" || f[4] == "" {
			return nil, fmt.Errorf("dpkg-query: %q has not the six parts asked for", clip(line))
		}
		p := pkg{Version: f[5], Held: f[2] == "hold"}
		switch f[4] {
		case "installed":
			p.Installed = f[3] == "ok"
			p.Broken = f[3] != "ok"
		case "not-installed", "config-files":
			p.Version = ""
		case "unpacked", "half-configured", "half-installed", "triggers-awaited", "triggers-pending":
			p.Broken = true
		default:
			return nil, fmt.Errorf("dpkg-query: package %s is %q, which is unknown", clip(f[0]), clip(f[4]))
		}
		out[f[0]+":"+f[1]] = p
		if have, ok := out[f[0]]; !ok || !have.Installed {
			out[f[0]] = p
		}
	}
	return out, nil
}

// rpmFormat is what is asked of rpm -q.
const rpmFormat = `%{NAME}\t%{ARCH}\t%{EPOCHNUM}\t%{VERSION}-%{RELEASE}\n`

// parseRPM reads the answer of rpm -q. What it says about packages that are
// not installed is passed over; other words are an error.
func parseRPM(text string) (map[string]pkg, error) {
	out := map[string]pkg{}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		if strings.HasPrefix(line, "package ") && strings.HasSuffix(line, " is not installed") {
			continue
		}
		f := strings.Split(line, "\t")
		if len(f) != 4 || f[0] == "" || f[3] == "" {
			return nil, fmt.Errorf("rpm: %q is no answer to what was asked", clip(line))
		}
		p := pkg{Installed: true, Version: f[3]}
		if f[2] != "" && f[2] != "0" && f[2] != "(none)" {
			p.Version = f[2] + ":" + p.Version
		}
		// Of several versions side by side (kernels) the last one, the newest, counts.
		out[f[0]], out[f[0]+"."+f[1]] = p, p
	}
	return out, nil
}

// parseAPK reads the installed packages of apk's own database, which has one
// paragraph a package with P:NAME and V:VERSION.
func parseAPK(text string) (map[string]pkg, error) {
	out := map[string]pkg{}
	name, version := "", ""
	end := func() error {
		if name == "" && version == "" {
			return nil
		}
		if name == "" || version == "" {
			return fmt.Errorf("apk: a paragraph has no name or no version (%q, %q)", clip(name), clip(version))
		}
		out[name] = pkg{Installed: true, Version: version}
		name, version = "", ""
		return nil
	}
	for line := range strings.Lines(text) {
		line = strings.TrimSuffix(line, "\n")
		switch {
		case line == "":
			if err := end(); err != nil {
				return nil, err
			}
		case strings.HasPrefix(line, "P:"):
			name = line[2:]
		case strings.HasPrefix(line, "V:"):
			version = line[2:]
		}
	}
	return out, end()
}
