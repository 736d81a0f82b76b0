package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"time"
)

// pki is the cluster's certificate authority, kept in a directory so that a
// server that starts again is still the one its clients know.
type pki struct {
	dir   string
	ca    *x509.Certificate
	caPEM []byte
	key   *ecdsa.PrivateKey
}

func (p *pki) file(name string) string { return filepath.Join(p.dir, name) }

// openPKI reads the authority in dir, or makes it with the server's own
// certificates.
func openPKI(dir string) (*pki, error) {
	p := &pki{dir: dir}
	if err := p.load(); !errors.Is(err, fs.ErrNotExist) {
		return p, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	if err := p.makeCA(); err != nil {
		return nil, err
	}
	for name, server := range map[string]bool{"srv": true, "proxy": false} {
		cn := map[bool]string{true: "kube-apiserver", false: "front-proxy-client"}[server]
		crt, key, err := p.issue(cn, nil, server)
		if err != nil {
			return nil, err
		}
		if err := errors.Join(p.write(name+".crt", crt), p.write(name+".key", key)); err != nil {
			return nil, err
		}
	}
	_, sa, err := newKey()
	if err != nil {
		return nil, err
	}
	// The certificate comes last: with it the directory counts as whole.
	return p, errors.Join(p.write("sa.key", sa), p.write("ca.crt", p.caPEM))
}

func (p *pki) load() error {
	crt, err := os.ReadFile(p.file("ca.crt"))
	if err != nil {
		return err
	}
	text, err := os.ReadFile(p.file("ca.key"))
	if err != nil {
		return err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return errors.New("ca.key is no PEM file")
	}
	if p.key, err = x509.ParseECPrivateKey(block.Bytes); err != nil {
		return err
	}
	if block, _ = pem.Decode(crt); block == nil {
		return errors.New("ca.crt is no PEM file")
	}
	p.caPEM = crt
	p.ca, err = x509.ParseCertificate(block.Bytes)
	return err
}

func (p *pki) makeCA() error {
	key, text, err := newKey()
	if err != nil {
		return err
	}
	t := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "kubetest-ca"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0), IsCA: true,
		BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageDigitalSignature}
	der, err := x509.CreateCertificate(rand.Reader, t, t, key.Public(), key)
	if err != nil {
		return err
	}
	p.key, p.caPEM = key, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
	if p.ca, err = x509.ParseCertificate(der); err != nil {
		return err
	}
	return p.write("ca.key", text)
}

func (p *pki) write(name string, body []byte) error { return os.WriteFile(p.file(name), body, 0o600) }

func newKey() (*ecdsa.PrivateKey, []byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalECPrivateKey(key)
	return key, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), err
}

// issue makes a certificate for a server or a client.
func (p *pki) issue(cn string, groups []string, server bool) (crt, key []byte, err error) {
	k, text, err := newKey()
	if err != nil {
		return nil, nil, err
	}
	serial, err := rand.Int(rand.Reader, big.NewInt(1<<62))
	if err != nil {
		return nil, nil, err
	}
	t := &x509.Certificate{SerialNumber: serial, Subject: pkix.Name{CommonName: cn, Organization: groups},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().AddDate(1, 0, 0),
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}}
	if server {
		t.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
		t.IPAddresses = []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback, net.IPv4(10, 96, 0, 1)}
		t.DNSNames = []string{"localhost", "kubernetes", "kubernetes.default", "kubernetes.default.svc"}
	}
	der, err := x509.CreateCertificate(rand.Reader, t, p.ca, k.Public(), p.key)
	if err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), text, nil
}

const kubeconfigForm = `apiVersion: v1
kind: Config
current-context: kubetest
clusters:
- name: kubetest
  cluster:
    server: %s
    certificate-authority-data: %s
contexts:
- name: kubetest
  context: {cluster: kubetest, user: u}
users:
- name: u
  user:
    client-certificate-data: %s
    client-key-data: %s
`

// kubeconfig writes a kubeconfig for a user and groups, in one step.
func (p *pki) kubeconfig(file, server, cn string, groups ...string) error {
	crt, key, err := p.issue(cn, groups, false)
	if err != nil {
		return err
	}
	e := base64.StdEncoding.EncodeToString
	text := fmt.Sprintf(kubeconfigForm, server, e(p.caPEM), e(crt), e(key))
	if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
		return err
	}
	return os.Rename(file+".new", file)
}
