// Package killtest kills trueup: at random moments, at named points, with
// replicas beside it and with connections that are cut in the middle of an
// update. What must stand afterwards is asked of the DNS server itself. It also
// looks for secrets in all that trueup keeps and says. The tests carry the
// build tag real.
package killtest
