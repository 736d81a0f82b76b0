// Package cloudfake has strict fakes of the secret stores of AWS, Google Cloud
// and Azure, as far as their secrets are read: each checks what a request is
// signed or authorised with.
package cloudfake

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"hash/crc32"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	v4 "github.com/aws/aws-sdk-go-v2/aws/signer/v4"
)

// What logs in to the fakes: an AWS access key with a session token for
// eu-west-1, and the secret of client1 in tenant1 of Azure.
const (
	AWSKeyID    = "AKID"
	AWSKey      = "canary-key"
	AWSSession  = "canary-session"
	AzureSecret = "canary-secret"
	Token       = "canary-token" // what Google and Azure answer a login with
)

// Secrets are what a store holds, by name.
type Secrets map[string]string

// AWS answers GetSecretValue of the API reference of AWS Secrets Manager
// (version 2017-10-17): one POST to /, the action in X-Amz-Target, JSON 1.1,
// signed by Signature Version 4.
func AWS(t testing.TB, secrets Secrets) *httptest.Server {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fail := func(status int, kind, text string) {
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			w.WriteHeader(status)
			fmt.Fprintf(w, `{"__type":%q,"Message":%q}`, kind, text)
		}
		if why := badSignature(r, body); why != "" {
			fail(400, "InvalidSignatureException", why)
			return
		}
		var in struct{ SecretId string }
		if r.Method != "POST" || r.URL.Path != "/" || r.Header.Get("X-Amz-Target") != "secretsmanager.GetSecretValue" || json.Unmarshal(body, &in) != nil || in.SecretId == "" {
			fail(400, "InvalidRequestException", "this is no GetSecretValue")
			return
		}
		text, ok := secrets[in.SecretId]
		if !ok {
			fail(400, "ResourceNotFoundException", "Secrets Manager can't find the specified secret.")
			return
		}
		_ = json.NewEncoder(w).Encode(map[string]any{"Name": in.SecretId, "SecretString": text, "VersionStages": []string{"AWSCURRENT"}})
	}))
	t.Cleanup(s.Close)
	return s
}

// badSignature signs the request once more and compares.
func badSignature(r *http.Request, body []byte) string {
	given := r.Header.Get("Authorization")
	at, err := time.Parse("20060102T150405Z", r.Header.Get("X-Amz-Date"))
	if err != nil || time.Since(at).Abs() > 5*time.Minute {
		return "the date is missing or old"
	}
	again, _ := http.NewRequest(r.Method, "http://"+r.Host+r.URL.RequestURI(), bytes.NewReader(body))
	_, list, _ := strings.Cut(given, "SignedHeaders=")
	list, _, _ = strings.Cut(list, ",")
	for _, h := range strings.Split(list, ";") {
		if h != "host" && h != "content-length" {
			again.Header[http.CanonicalHeaderKey(h)] = r.Header[http.CanonicalHeaderKey(h)]
		}
	}
	sum := sha256.Sum256(body)
	err = v4.NewSigner().SignHTTP(r.Context(), aws.Credentials{AccessKeyID: AWSKeyID, SecretAccessKey: AWSKey, SessionToken: AWSSession},
		again, hex.EncodeToString(sum[:]), "secretsmanager", "eu-west-1", at)
	if err != nil || again.Header.Get("Authorization") != given {
		return "the signature does not fit"
	}
	return ""
}

// GCP gives a project p1 and the key of a service account: it answers the token request of a service account (RFC 7523) and
// projects.secrets.versions.access of Secret Manager v1.
func GCP(t testing.TB, secrets Secrets) (s *httptest.Server, key string) {
	private, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /token", func(w http.ResponseWriter, r *http.Request) {
		parts := strings.Split(r.PostFormValue("assertion"), ".")
		if r.PostFormValue("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer" || len(parts) != 3 {
			http.Error(w, `{"error":"invalid_request"}`, 400)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		fmt.Fprint(w, `{"access_token":"`+Token+`","token_type":"Bearer","expires_in":3600}`)
	})
	mux.HandleFunc("GET /v1/projects/p1/secrets/{name}/versions/{call}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		text, ok := secrets[r.PathValue("name")]
		switch {
		case r.Header.Get("Authorization") != "Bearer "+Token:
			w.WriteHeader(401)
			fmt.Fprint(w, `{"error":{"code":401,"message":"invalid authentication credentials","status":"UNAUTHENTICATED"}}`)
		case !ok || r.PathValue("call") != "latest:access":
			w.WriteHeader(404)
			fmt.Fprint(w, `{"error":{"code":404,"message":"not found","status":"NOT_FOUND"}}`)
		default:
			sum := crc32.Checksum([]byte(text), crc32.MakeTable(crc32.Castagnoli))
			fmt.Fprintf(w, `{"name":"x","payload":{"data":%q,"dataCrc32c":"%d"}}`, base64.StdEncoding.EncodeToString([]byte(text)), sum)
		}
	})
	s = httptest.NewServer(mux)
	t.Cleanup(s.Close)
	pemKey := pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(private)})
	b, err := json.Marshal(map[string]string{"type": "service_account", "project_id": "p1", "private_key_id": "k1", "private_key": string(pemKey),
		"client_email": "trueup@p1.iam.gserviceaccount.com", "token_uri": s.URL + "/token"})
	if err != nil {
		t.Fatal(err)
	}
	return s, string(b)
}

// Azure answers the token request of a client secret (Microsoft identity
// platform v2.0) and "Get Secret" of the Key Vault REST API 7.x, which first
// challenges a request without a token.
func Azure(t testing.TB, secrets Secrets) *httptest.Server {
	mux := http.NewServeMux()
	var s *httptest.Server
	mux.HandleFunc("GET /tenant1/v2.0/.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		fmt.Fprintf(w, `{"token_endpoint":"%[1]s/tenant1/oauth2/v2.0/token","authorization_endpoint":"%[1]s/tenant1/authorize","issuer":"%[1]s/tenant1/v2.0"}`, s.URL)
	})
	mux.HandleFunc("POST /tenant1/oauth2/v2.0/token", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.PostFormValue("client_id") != "client1" || r.PostFormValue("client_secret") != AzureSecret || r.PostFormValue("grant_type") != "client_credentials" {
			w.WriteHeader(401)
			fmt.Fprint(w, `{"error":"invalid_client","error_description":"AADSTS7000215: Invalid client secret provided."}`)
			return
		}
		fmt.Fprint(w, `{"token_type":"Bearer","expires_in":3600,"access_token":"`+Token+`"}`)
	})
	mux.HandleFunc("GET /secrets/{name}/{$}", func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		text, ok := secrets[r.PathValue("name")]
		switch {
		case r.Header.Get("Authorization") != "Bearer "+Token:
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer authorization="%s/tenant1", resource="https://vault.azure.net"`, s.URL))
			w.WriteHeader(401)
			fmt.Fprint(w, `{"error":{"code":"Unauthorized","message":"AKV10000: Request is missing a Bearer or PoP token."}}`)
		case r.URL.Query().Get("api-version") == "":
			w.WriteHeader(400)
		case !ok:
			w.WriteHeader(404)
			fmt.Fprint(w, `{"error":{"code":"SecretNotFound","message":"A secret with (name/id) was not found in this key vault."}}`)
		default:
			_ = json.NewEncoder(w).Encode(map[string]any{"value": text, "id": s.URL + "/secrets/" + r.PathValue("name") + "/v1"})
		}
	})
	s = httptest.NewTLSServer(mux)
	t.Cleanup(s.Close)
	return s
}
