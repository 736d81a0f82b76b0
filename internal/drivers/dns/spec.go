package dns

import (
	"path"
	"strings"

	"trueup.dev/trueup/internal/plan"
)

// Ownership says what of a zone a target owns.
type Ownership string

// The ownerships: only the RRsets that it declares; or the zone as a whole,
// where everything else is deleted as drift.
const (
	OwnRecords Ownership = "records"
	OwnZone    Ownership = "zone"
)

// Spec is the spec of a dns target.
type Spec struct {
	// Format is zonefile or octodns; without it the file's extension decides.
	Format string `yaml:"format,omitempty" json:"format,omitempty" jsonschema:"enum=zonefile,enum=octodns,description=Form of the file; guessed from its extension"`
	// Zone is the zone's name; by default the one of the environment.
	Zone string `yaml:"zone,omitempty" json:"zone,omitempty" jsonschema:"description=The zone; by default the environment's, or the file's name"`
	// View is the view the zone lives in; by default the one of the environment.
	View string `yaml:"view,omitempty" json:"view,omitempty" jsonschema:"description=The view the zone lives in; by default the environment's"`
	// Ownership is records (the default) or zone.
	Ownership Ownership `yaml:"ownership,omitempty" json:"ownership,omitempty" jsonschema:"enum=records,enum=zone,description=records: only the declared RRsets; zone: everything else is deleted"`
	// Ignore are globs of names that are never read, written or deleted.
	Ignore []string `yaml:"ignore,omitempty" json:"ignore,omitempty" jsonschema:"description=Globs of names that are left alone"`
	// PTR makes PTR records from the A and AAAA records.
	PTR *PTRSpec `yaml:"ptr,omitempty" json:"ptr,omitempty" jsonschema:"description=Makes PTR records in reverse zones of the same server"`
	// ManageSOA lets the file's SOA timers and names be written. The serial
	// stays the server's.
	ManageSOA bool `yaml:"manageSOA,omitempty" json:"manageSOA,omitempty" jsonschema:"description=Write the SOA's fields; the serial stays the server's"`
	// ManageApexNS lets the zone's own NS records be written.
	ManageApexNS bool `yaml:"manageApexNS,omitempty" json:"manageApexNS,omitempty" jsonschema:"description=Write the NS records of the zone's own name"`
	// CreateZone makes a missing zone, where the server can.
	CreateZone bool `yaml:"createZone,omitempty" json:"createZone,omitempty" jsonschema:"description=Make a missing zone; PowerDNS API only"`
	// Delegation checks that delegations in the zone answer, and that DS
	// records match the child's DNSKEY: off (the default), warn or error.
	Delegation string `yaml:"delegation,omitempty" json:"delegation,omitempty" jsonschema:"enum=off,enum=warn,enum=error,description=Ask delegated name servers and compare DS with DNSKEY"`
}

// PTRSpec asks for PTR records.
type PTRSpec struct {
	// Zones are the reverse zones, on the same server.
	Zones []string `yaml:"zones" json:"zones" jsonschema:"description=Reverse zones on the same server"`
	// Names are globs of the names that get PTR records; empty means all.
	Names []string `yaml:"names,omitempty" json:"names,omitempty" jsonschema:"description=Globs of the names that get PTR records; empty means all"`
	// Except are globs of names that get none.
	Except []string `yaml:"except,omitempty" json:"except,omitempty" jsonschema:"description=Globs of names that get no PTR records"`
}

// Validate reports mistakes in the spec.
func (s *Spec) Validate() plan.Diagnostics {
	var d plan.Diagnostics
	oneOf(&d, "format", s.Format, "", "zonefile", "octodns")
	oneOf(&d, "ownership", string(s.Ownership), "", string(OwnRecords), string(OwnZone))
	oneOf(&d, "delegation", s.Delegation, "", "off", "warn", "error")
	checkGlobs(&d, "ignore", s.Ignore)
	if s.Zone != "" {
		checkZone(&d, "zone", s.Zone)
	}
	checkView(&d, s.View)
	if s.PTR != nil {
		if len(s.PTR.Zones) == 0 {
			d.Errorf(plan.Source{}, "ptr.zones", "name the reverse zones, for example 2.0.192.in-addr.arpa", "no reverse zone is named")
		}
		for _, z := range s.PTR.Zones {
			checkZone(&d, "ptr.zones", z)
			if n, err := canonicalName(z, "."); err == nil && !inZone(n, "in-addr.arpa.") && !inZone(n, "ip6.arpa.") {
				d.Errorf(plan.Source{}, "ptr.zones", "name zones under in-addr.arpa or ip6.arpa", "%q is not a reverse zone", z)
			}
		}
		checkGlobs(&d, "ptr.names", s.PTR.Names)
		checkGlobs(&d, "ptr.except", s.PTR.Except)
	}
	return d
}

func checkView(d *plan.Diagnostics, view string) {
	if strings.ContainsAny(view, "/ \t\n") {
		d.Errorf(plan.Source{}, "view", "use the view's name", "%q is not a view's name", view)
	}
}

func oneOf(d *plan.Diagnostics, field, got string, allowed ...string) {
	for _, a := range allowed {
		if got == a {
			return
		}
	}
	d.Errorf(plan.Source{}, field, "use "+strings.Join(allowed[1:], " or "), "%q is not known", got)
}

func checkZone(d *plan.Diagnostics, field, zone string) {
	if _, err := canonicalName(zone, "."); err != nil || zone == "@" {
		d.Errorf(plan.Source{}, field, "write it like example.com", "%q is not a zone's name", zone)
	}
}

// format decides how a file is read.
func (s *Spec) format(file string) string {
	if s.Format != "" {
		return s.Format
	}
	switch strings.ToLower(path.Ext(file)) {
	case ".yaml", ".yml":
		return "octodns"
	}
	return "zonefile"
}
