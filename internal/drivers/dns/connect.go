package dns

import (
	"context"
	"encoding/base64"
	"fmt"
	"net"
	"strings"
	"time"

	"github.com/invopop/jsonschema"

	"trueup.dev/trueup/internal/driver"
	"trueup.dev/trueup/internal/plan"
	"trueup.dev/trueup/internal/secret"
)

// Connect says where a dns environment's server is.
type Connect struct {
	// Server is the primary's address, host or host:port.
	Server string `yaml:"server,omitempty" json:"server,omitempty" jsonschema:"description=The primary: host or host:port"`
	// Zone and Zones are the zones of the environment; targets may name no others.
	Zone  string   `yaml:"zone,omitempty" json:"zone,omitempty" jsonschema:"description=The zone of this environment"`
	Zones []string `yaml:"zones,omitempty" json:"zones,omitempty" jsonschema:"description=The zones of this environment"`
	// View names the view that the key leads to; it tells two zones of one
	// name apart.
	View string `yaml:"view,omitempty" json:"view,omitempty" jsonschema:"description=Name of the view that the key leads to"`
	// TSIG is the key that transfers and updates are signed with.
	TSIG *TSIG `yaml:"tsig,omitempty" json:"tsig,omitempty" jsonschema:"description=Key for transfers and updates"`
	// PowerDNS uses the server's HTTP API in place of updates and transfers.
	PowerDNS *PowerDNS `yaml:"powerdns,omitempty" json:"powerdns,omitempty" jsonschema:"description=Use the PowerDNS HTTP API"`
	// Timeout bounds every single exchange; by default 30s.
	Timeout Duration `yaml:"timeout,omitempty" json:"timeout,omitempty" jsonschema:"description=Bound of one exchange: 30s by default"`
}

// PowerDNS is the HTTP API of a PowerDNS authoritative server.
type PowerDNS struct {
	URL      string     `yaml:"url" json:"url" jsonschema:"description=Base URL without /api/v1"`
	ServerID string     `yaml:"serverId,omitempty" json:"serverId,omitempty" jsonschema:"description=Server id; localhost by default"`
	APIKey   secret.Ref `yaml:"apiKey" json:"apiKey" jsonschema:"description=Reference to the API key"`
	// CA is a file with the certificates to trust, in PEM.
	CA string `yaml:"ca,omitempty" json:"ca,omitempty" jsonschema:"description=File with the certificates to trust"`
}

// TSIG is a key: one reference to "name:algorithm:base64", or its parts.
type TSIG struct {
	Ref       secret.Ref `yaml:"-" json:"-"`
	Name      string     `yaml:"name,omitempty" json:"name,omitempty"`
	Algorithm string     `yaml:"algorithm,omitempty" json:"algorithm,omitempty"`
	Secret    secret.Ref `yaml:"secret,omitempty" json:"secret,omitempty"`
}

// UnmarshalYAML takes a reference or a mapping.
func (t *TSIG) UnmarshalYAML(decode func(any) error) error {
	var ref string
	if decode(&ref) == nil {
		*t = TSIG{Ref: secret.Ref(ref)}
		return nil
	}
	type parts TSIG
	return decode((*parts)(t))
}

// JSONSchema says that either form is allowed.
func (TSIG) JSONSchema() *jsonschema.Schema {
	props := jsonschema.NewProperties()
	props.Set("name", &jsonschema.Schema{Type: "string"})
	props.Set("algorithm", &jsonschema.Schema{Type: "string", Description: "hmac-sha256 by default"})
	props.Set("secret", &jsonschema.Schema{Type: "string", Description: "reference to the key in base64"})
	return &jsonschema.Schema{OneOf: []*jsonschema.Schema{
		{Type: "string", Description: "reference to a secret of the form name:algorithm:base64"},
		{Type: "object", Properties: props, Required: []string{"name", "secret"}, AdditionalProperties: jsonschema.FalseSchema},
	}}
}

// Duration is a time span written like 30s.
type Duration time.Duration

// UnmarshalYAML reads 30s or 2m.
func (d *Duration) UnmarshalYAML(decode func(any) error) error {
	var s string
	if err := decode(&s); err != nil {
		return err
	}
	v, err := time.ParseDuration(s)
	if err != nil {
		return fmt.Errorf("%q is not a duration such as 30s", s)
	}
	*d = Duration(v)
	return nil
}

// MarshalYAML writes it the way it is read.
func (d Duration) MarshalYAML() (any, error) { return time.Duration(d).String(), nil }

// JSONSchema says that it is text.
func (Duration) JSONSchema() *jsonschema.Schema { return &jsonschema.Schema{Type: "string"} }

// Validate reports mistakes in connect.
func (c *Connect) Validate() plan.Diagnostics {
	var d plan.Diagnostics
	at := plan.Source{}
	switch {
	case c.Server == "" && c.PowerDNS == nil:
		d.Errorf(at, "server", "name the primary, or powerdns.url", "no server is named")
	case c.PowerDNS != nil:
		if !strings.HasPrefix(c.PowerDNS.URL, "http://") && !strings.HasPrefix(c.PowerDNS.URL, "https://") {
			d.Errorf(at, "powerdns.url", "write it like https://ns0.example.net:8081", "%q is not an HTTP URL", c.PowerDNS.URL)
		}
		if c.PowerDNS.APIKey == "" {
			d.Errorf(at, "powerdns.apiKey", "give a reference such as env:PDNS_API_KEY", "no API key is given")
		}
	}
	if c.Zone != "" && len(c.Zones) > 0 {
		d.Errorf(at, "zones", "use one of them", "zone and zones are both given")
	}
	for _, z := range c.zones() {
		checkZone(&d, "zone", z)
	}
	checkView(&d, c.View)
	if c.TSIG != nil && c.TSIG.Ref == "" && (c.TSIG.Name == "" || c.TSIG.Secret == "") {
		d.Errorf(at, "tsig", "give name and secret, or one reference to name:algorithm:base64", "the key is not complete")
	}
	if c.Timeout < 0 {
		d.Errorf(at, "timeout", "use a positive duration", "the timeout is negative")
	}
	return d
}

// zones gives the canonical names of the environment's zones.
func (c *Connect) zones() []string {
	all := c.Zones
	if c.Zone != "" {
		all = append([]string{c.Zone}, all...)
	}
	out := make([]string, 0, len(all))
	for _, z := range all {
		if n, err := canonicalName(z, "."); err == nil {
			z = n
		}
		out = append(out, z)
	}
	return out
}

func (c *Connect) timeout() time.Duration {
	if c.Timeout > 0 {
		return time.Duration(c.Timeout)
	}
	return 30 * time.Second
}

// address is the server with its port.
func (c *Connect) address() string {
	if _, _, err := net.SplitHostPort(c.Server); err == nil {
		return c.Server
	}
	return net.JoinHostPort(strings.Trim(c.Server, "[]"), "53")
}

// key resolves the TSIG key; nil means that messages go unsigned.
func (c *Connect) key(ctx context.Context, env driver.Environment) (*tsigKey, error) {
	if c.TSIG == nil {
		return nil, nil
	}
	ref := c.TSIG.Ref
	if ref == "" {
		ref = c.TSIG.Secret
	}
	v, err := env.Secret(ctx, ref)
	if err != nil {
		return nil, fmt.Errorf("tsig: %w", err)
	}
	name, algorithm, text := c.TSIG.Name, c.TSIG.Algorithm, v.Reveal()
	if c.TSIG.Ref != "" {
		parts := strings.Split(strings.TrimSpace(text), ":")
		if len(parts) != 3 {
			return nil, driver.Permanent(fmt.Errorf("tsig: the secret %s does not have the form name:algorithm:base64", ref))
		}
		name, algorithm, text = parts[0], parts[1], parts[2]
	}
	raw, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if err != nil || len(raw) == 0 {
		return nil, driver.Permanent(fmt.Errorf("tsig: the secret %s is not base64", ref))
	}
	k, err := newTSIGKey(name, algorithm, raw)
	if err != nil {
		return nil, driver.Permanent(fmt.Errorf("tsig: %w", err))
	}
	return k, nil
}
