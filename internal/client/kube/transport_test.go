package kube_test

import (
	"bufio"
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"k8s.io/klog/v2"

	"trueup.dev/trueup/internal/client/kube"
	"trueup.dev/trueup/internal/client/kube/kubefake"
	"trueup.dev/trueup/internal/driver"
)

// certificate makes a certificate that is valid at a time, of itself.
func certificate(t *testing.T, name string, from, to time.Time) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "test"}, NotBefore: from, NotAfter: to,
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign}
	if ip := net.ParseIP(name); ip != nil {
		c.IPAddresses = []net.IP{ip}
	} else {
		c.DNSNames = []string{name}
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der})
}

func kubeconfigOf(server string, ca []byte, more string) []byte {
	return fmt.Appendf(nil, "current-context: c\nclusters: [{name: c, cluster: {server: %q, certificate-authority-data: %q%s}}]\nusers: [{name: u, user: {token: t}}]\ncontexts: [{name: c, context: {cluster: c, user: u}}]",
		server, base64.StdEncoding.EncodeToString(ca), more)
}

func TestTLSErrorsSayWhatIsWrong(t *testing.T) {
	now := time.Now()
	good, goodCA := certificate(t, "127.0.0.1", now.Add(-time.Hour), now.Add(time.Hour))
	old, oldCA := certificate(t, "127.0.0.1", now.Add(-2*time.Hour), now.Add(-time.Hour))
	other, otherCA := certificate(t, "10.0.0.1", now.Add(-time.Hour), now.Add(time.Hour))
	for _, x := range []struct {
		name string
		cert tls.Certificate
		ca   []byte
		want string
		auth tls.ClientAuthType
	}{
		{"another authority", good, otherCA, "not of the authority that the kubeconfig names", 0},
		{"expired", old, oldCA, "has expired", 0},
		{"another name", other, otherCA, "is for another name", 0},
		{"a client certificate is wanted", good, goodCA, "refuses the client certificate", tls.RequireAndVerifyClientCert},
	} {
		h := httptest.NewUnstartedServer(http.NotFoundHandler())
		h.Config.ErrorLog = log.New(io.Discard, "", 0)
		h.TLS = &tls.Config{Certificates: []tls.Certificate{x.cert}, ClientAuth: x.auth, MaxVersion: tls.VersionTLS12}
		h.StartTLS()
		_, err := dial(t, kubeconfigOf(h.URL, x.ca, "")).Version(context.Background())
		if !errors.Is(err, driver.ErrUnreachable) || !strings.Contains(err.Error(), x.want) {
			t.Errorf("%s: %v", x.name, err)
		}
		h.Close()
	}
	plain := httptest.NewServer(http.NotFoundHandler())
	defer plain.Close()
	if _, err := dial(t, kubeconfigOf(strings.Replace(plain.URL, "http:", "https:", 1), goodCA, "")).Version(context.Background()); !errors.Is(err, driver.ErrUnreachable) || !strings.Contains(err.Error(), "HTTP response to HTTPS client") && !strings.Contains(err.Error(), "does not speak TLS") {
		t.Errorf("no TLS: %v", err)
	}
}

// A proxy that the kubeconfig names is the only way taken.
func TestProxyOfTheKubeconfig(t *testing.T) {
	s := kubefake.New(t)
	var used atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodConnect {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		used.Add(1)
		up, err := net.Dial("tcp", r.Host)
		if err != nil {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		w.WriteHeader(http.StatusOK)
		down, buffered, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		go func() { _, _ = io.Copy(up, buffered); _ = up.Close() }()
		_, _ = io.Copy(down, up)
		_ = down.Close()
	}))
	defer proxy.Close()
	c := dial(t, bytes.Replace(kubeconfigOf(s.URL, s.CA(), ", proxy-url: \""+proxy.URL+"\""), []byte("token: t"), []byte("token: admin-token"), 1))
	if v, err := c.Version(context.Background()); err != nil || v == "" || used.Load() != 1 {
		t.Errorf("%q, %v over %d connections of the proxy", v, err, used.Load())
	}
	proxy.CloseClientConnections()
	proxy.Close()
	c.Close()
	if _, err := c.UID(context.Background()); !errors.Is(err, driver.ErrUnreachable) || errors.Is(err, kube.ErrUncertain) {
		t.Errorf("without the proxy: %v", err)
	}
}

// A connection over which nothing comes any more, as after a firewall forgot
// it, is given up by itself.
func TestADeadConnectionIsNoticed(t *testing.T) {
	t.Setenv("HTTP2_READ_IDLE_TIMEOUT_SECONDS", "1")
	t.Setenv("HTTP2_PING_TIMEOUT_SECONDS", "1")
	s := kubefake.New(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	var dead atomic.Bool
	var conns atomic.Int32
	go func() {
		for {
			down, err := l.Accept()
			if err != nil {
				return
			}
			conns.Add(1)
			up, err := net.Dial("tcp", strings.TrimPrefix(s.URL, "https://"))
			if err != nil {
				return
			}
			first := conns.Load() == 1
			go func() { _, _ = io.Copy(up, down) }()
			go func() {
				b := make([]byte, 1<<16)
				for {
					n, err := up.Read(b)
					if err != nil {
						return
					}
					if !first || !dead.Load() {
						_, _ = down.Write(b[:n])
					}
				}
			}()
		}
	}()
	c := dial(t, bytes.Replace(kubeconfigOf("https://"+l.Addr().String(), s.CA(), ""), []byte("token: t"), []byte("token: admin-token"), 1))
	ctx := context.Background()
	m := mapping(t, c, configMap)
	dead.Store(true)
	w, err := c.WatchMeta(ctx, m, "", "0")
	if err == nil {
		for range w.ResultChan() {
		}
	}
	if _, err := c.UID(ctx); err != nil || conns.Load() != 2 {
		t.Errorf("after %d connections: %v", conns.Load(), err)
	}
}

func TestClosedClustersLeaveNothingBehind(t *testing.T) {
	s := kubefake.New(t)
	ctx := context.Background()
	use := func() {
		c := open(t, s)
		m := mapping(t, c, configMap)
		w, err := c.WatchMeta(ctx, m, "", "0")
		if err != nil {
			t.Fatal(err)
		}
		c.Close()
		for range w.ResultChan() {
		}
	}
	use()
	gone := func() bool { return s.Connections() == 0 }
	eventually(t, gone, "the first connection is closed")
	before := runtime.NumGoroutine()
	for range 20 {
		use()
	}
	eventually(t, gone, "all connections are closed")
	eventually(t, func() bool { return runtime.NumGoroutine() <= before+3 }, "the goroutines have ended")
}

func eventually(t *testing.T, f func() bool, what string) {
	t.Helper()
	for range 1500 { // an API server remembers a token for ten seconds
		if f() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	t.Errorf("not within 15 s: %s", what)
}

func TestLibrariesWriteNothing(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	was := os.Stderr
	os.Stderr = w
	klog.ErrorS(errors.New("x"), "from a library")
	klog.Warning("from a library")
	klog.FromContext(context.Background()).Info("from a library")
	klog.Flush()
	os.Stderr = was
	_ = w.Close()
	lines := 0
	for in := bufio.NewScanner(r); in.Scan(); lines++ {
		t.Errorf("on standard error: %s", in.Text())
	}
}
