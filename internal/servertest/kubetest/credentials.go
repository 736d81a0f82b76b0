package kubetest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"time"
)

// ByToken gives a kubeconfig with a bearer token, such as kubectl create token
// prints.
func (c *Cluster) ByToken(t TB, token string) []byte {
	t.Helper()
	return c.kubeconfig(t, fmt.Sprintf("token: %q", token))
}

// ByCertificate gives a kubeconfig with a client certificate of the cluster's
// authority that is valid until a time, which may have passed.
func (c *Cluster) ByCertificate(t TB, user string, groups []string, until time.Time) []byte {
	t.Helper()
	crt, key, err := c.issue(user, groups, until)
	if err != nil {
		t.Fatalf("a client certificate: %v", err)
	}
	e := base64.StdEncoding.EncodeToString
	return c.kubeconfig(t, fmt.Sprintf("client-certificate-data: %q, client-key-data: %q", e(crt), e(key)))
}

// CA gives the certificate of the cluster's authority.
func (c *Cluster) CA(t TB) []byte {
	t.Helper()
	ca, err := os.ReadFile(filepath.Join(c.Dir, "pki", "ca.crt"))
	if err != nil {
		t.Fatalf("%v", err)
	}
	return ca
}

func (c *Cluster) kubeconfig(t TB, user string) []byte {
	t.Helper()
	return fmt.Appendf(nil, `apiVersion: v1
kind: Config
current-context: c
clusters: [{name: c, cluster: {server: %q, certificate-authority-data: %q}}]
contexts: [{name: c, context: {cluster: c, user: u}}]
users: [{name: u, user: {%s}}]
`, c.URL, base64.StdEncoding.EncodeToString(c.CA(t)), user)
}

func (c *Cluster) issue(user string, groups []string, until time.Time) (crt, key []byte, err error) {
	var parts [2][]byte
	for i, name := range []string{"ca.crt", "ca.key"} {
		text, err := os.ReadFile(filepath.Join(c.Dir, "pki", name))
		if err != nil {
			return nil, nil, err
		}
		block, _ := pem.Decode(text)
		if block == nil {
			return nil, nil, fmt.Errorf("%s is no PEM file", name)
		}
		parts[i] = block.Bytes
	}
	ca, err := x509.ParseCertificate(parts[0])
	if err != nil {
		return nil, nil, err
	}
	signer, err := x509.ParseECPrivateKey(parts[1])
	if err != nil {
		return nil, nil, err
	}
	own, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	form := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: user, Organization: groups},
		NotBefore: until.Add(-24 * time.Hour), NotAfter: until, KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, form, ca, own.Public(), signer)
	if err != nil {
		return nil, nil, err
	}
	raw, err := x509.MarshalECPrivateKey(own)
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: raw}), err
}
