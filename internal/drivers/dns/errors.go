package dns

import (
	"fmt"

	mdns "github.com/miekg/dns"

	"trueup.dev/trueup/internal/driver"
)

// rcodeError says what an answer's code means for the caller; nil for success.
func rcodeError(what string, rcode int, sig tsigRecord) error {
	name := mdns.RcodeToString[rcode]
	if name == "" {
		name = fmt.Sprintf("code %d", rcode)
	}
	switch rcode {
	case mdns.RcodeSuccess:
		return nil
	case mdns.RcodeYXDomain, mdns.RcodeYXRrset, mdns.RcodeNXRrset, mdns.RcodeNameError:
		return fmt.Errorf("%s: %s: %w", what, name, driver.ErrStale)
	case mdns.RcodeServerFailure:
		return fmt.Errorf("%s: the server failed (%s); its log says why", what, name)
	case mdns.RcodeRefused:
		return driver.Permanent(fmt.Errorf("%s: the server refuses it (%s): check that the key may transfer and update the zone there", what, name))
	case mdns.RcodeNotAuth:
		return driver.Permanent(fmt.Errorf("%s: %s", what, notAuth(sig)))
	case mdns.RcodeNotImplemented:
		return driver.Permanent(fmt.Errorf("%s: the server does not implement it (%s)", what, name))
	}
	return driver.Permanent(fmt.Errorf("%s: the server answers %s", what, name))
}

func notAuth(sig tsigRecord) string {
	switch sig.rcode {
	case mdns.RcodeBadKey:
		return "the server does not know this TSIG key (BADKEY)"
	case mdns.RcodeBadSig:
		return "the server holds another secret for this TSIG key (BADSIG)"
	case mdns.RcodeBadTime:
		return "the clocks of this machine and the server differ by more than five minutes (BADTIME)"
	}
	return "the server is not authoritative for the zone (NOTAUTH)"
}
