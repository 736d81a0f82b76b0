package git

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/ProtonMail/go-crypto/openpgp"
	"github.com/hiddeco/sshsig"
	"golang.org/x/crypto/ssh"

	"trueup.dev/trueup/internal/source"
)

// signatureNamespace is what git signs in with ssh keys.
const signatureNamespace = "git"

// maxVerify bounds how many commits one VerifyAll looks at.
const maxVerify = 10_000

// verifier checks signatures against listed keys. A nil one asks for none.
type verifier struct {
	what source.Verify
	gpg  openpgp.EntityList
	ssh  []sshKey
}

type sshKey struct {
	key  ssh.PublicKey
	name string
}

func newVerifier(opt source.Options) (*verifier, error) {
	p := opt.Signatures
	if p == nil {
		return nil, nil
	}
	v := &verifier{what: p.Verify}
	if v.what == "" {
		v.what = source.VerifyHead
		if opt.Follow.TagPattern != "" {
			v.what = source.VerifyTag
		}
	}
	switch v.what {
	case source.VerifyHead, source.VerifyAll:
	case source.VerifyTag, source.VerifyTagAndHead:
		if opt.Follow.TagPattern == "" {
			return nil, fmt.Errorf("signatures: verify: %s needs a tag pattern to follow", v.what)
		}
	default:
		return nil, fmt.Errorf("signatures: verify: %q is not one of head, tag, tagAndHead, all", v.what)
	}
	for i, k := range p.GPGKeys {
		list, err := openpgp.ReadArmoredKeyRing(strings.NewReader(k))
		if err != nil {
			return nil, fmt.Errorf("signatures: gpgKeys[%d]: not an armoured public key: %w", i, err)
		}
		v.gpg = append(v.gpg, list...)
	}
	for i, k := range p.SSHKeys {
		for _, line := range strings.Split(k, "\n") {
			if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
				continue
			}
			key, err := parseSigner(line)
			if err != nil {
				return nil, fmt.Errorf("signatures: sshKeys[%d]: %w", i, err)
			}
			v.ssh = append(v.ssh, key)
		}
	}
	if len(v.gpg)+len(v.ssh) == 0 {
		return nil, errors.New("signatures: no key is listed")
	}
	return v, nil
}

// parseSigner reads "ssh-ed25519 AAAA… name" or a line of an allowed signers
// file, "name [namespaces="git"] ssh-ed25519 AAAA…". Options that would limit
// a key in a way not known here are refused, not overlooked.
func parseSigner(line string) (sshKey, error) {
	f := strings.Fields(line)
	at := -1
	for i := range f {
		if strings.HasPrefix(f[i], "ssh-") || strings.HasPrefix(f[i], "ecdsa-") || strings.HasPrefix(f[i], "sk-") {
			at = i
			break
		}
	}
	if at < 0 || at+1 >= len(f) {
		return sshKey{}, errors.New("not a public key: expected \"ssh-ed25519 AAAA… name\"")
	}
	for _, o := range f[min(1, at):at] {
		if o != `namespaces="git"` {
			return sshKey{}, fmt.Errorf("the option %q is not supported", o)
		}
	}
	key, comment, _, _, err := ssh.ParseAuthorizedKey([]byte(strings.Join(f[at:], " ")))
	if err != nil {
		return sshKey{}, fmt.Errorf("not a public key: %w", err)
	}
	name := ssh.FingerprintSHA256(key)
	if at > 0 {
		name = f[0] + " " + name
	} else if comment != "" {
		name = comment + " " + name
	}
	return sshKey{key: key, name: name}, nil
}

// check gives the name of the key that signed the object.
func (v *verifier) check(kind, id string, body []byte) (string, error) {
	o, err := parseObject(kind, body)
	if err != nil {
		return "", err
	}
	if len(o.signature) == 0 {
		return "", fmt.Errorf("%s %.12s has no signature: %w", kind, id, source.ErrUnsigned)
	}
	var name string
	if bytes.HasPrefix(o.signature, []byte("-----BEGIN SSH SIGNATURE-----")) {
		name, err = v.checkSSH(o)
	} else {
		name, err = v.checkGPG(o)
	}
	if err != nil {
		return "", fmt.Errorf("%s %.12s: %w: %w", kind, id, source.ErrUnsigned, err)
	}
	return name, nil
}

func (v *verifier) checkSSH(o *signedObject) (string, error) {
	sig, err := sshsig.Unarmor(o.signature)
	if err != nil {
		return "", fmt.Errorf("the ssh signature can't be read: %w", err)
	}
	for _, k := range v.ssh {
		if !bytes.Equal(k.key.Marshal(), sig.PublicKey.Marshal()) {
			continue
		}
		if err := sshsig.Verify(bytes.NewReader(o.payload), sig, k.key, sig.HashAlgorithm, signatureNamespace); err != nil {
			return "", fmt.Errorf("the ssh signature is wrong: %w", err)
		}
		return tidy(k.name), nil
	}
	return "", fmt.Errorf("signed by the unlisted ssh key %s", ssh.FingerprintSHA256(sig.PublicKey))
}

func (v *verifier) checkGPG(o *signedObject) (string, error) {
	if len(v.gpg) == 0 {
		return "", errors.New("signed with a GPG key and none is listed")
	}
	who, err := openpgp.CheckArmoredDetachedSignature(v.gpg, bytes.NewReader(o.payload), bytes.NewReader(o.signature), nil)
	if err != nil {
		return "", fmt.Errorf("the GPG signature: %w", err)
	}
	name := fmt.Sprintf("%X", who.PrimaryKey.Fingerprint)
	if id := who.PrimaryIdentity(); id != nil {
		name = id.Name + " " + name
	}
	return tidy(name), nil
}

// verify checks what the policy asks for and names the key.
func (m *Mirror) verify(ctx context.Context, was string, r source.Revision) (by string, err error) {
	v := m.verifier
	if v == nil {
		return "", nil
	}
	if v.what == source.VerifyTag || v.what == source.VerifyTagAndHead {
		if by, err = m.verifyObject(ctx, "tag", r.Ref); err != nil || v.what == source.VerifyTag {
			return by, err
		}
	}
	if v.what == source.VerifyAll && was != "" && was != r.Commit {
		if err := m.verifySince(ctx, was, r.Commit); err != nil {
			return "", err
		}
	}
	return m.verifyObject(ctx, "commit", r.Commit)
}

func (m *Mirror) verifySince(ctx context.Context, was, now string) error {
	c := command{dir: m.gitDir(), args: []string{"rev-list", fmt.Sprintf("--max-count=%d", maxVerify+1), now, "^" + was}}
	if _, err := m.repo.revision(ctx, was); errors.Is(err, source.ErrNoRef) {
		c.args = c.args[:3] // the history before was rewritten: all of the new one counts
	}
	out, err := c.output(ctx, localTimeout)
	if err != nil {
		return err
	}
	ids := strings.Fields(string(out))
	if len(ids) > maxVerify {
		return fmt.Errorf("more than %d commits to verify: %w", maxVerify, source.ErrTooLarge)
	}
	for _, id := range ids {
		if _, err := m.verifyObject(ctx, "commit", id); err != nil {
			return err
		}
	}
	return nil
}

func (m *Mirror) verifyObject(ctx context.Context, kind, name string) (string, error) {
	o, err := m.repo.batch.read(ctx, maxTree, name)
	if err != nil {
		return "", err
	}
	if o[0].kind != kind {
		if kind == "tag" {
			return "", fmt.Errorf("%s is a lightweight tag, which can't be signed: %w", name, source.ErrUnsigned)
		}
		return "", fmt.Errorf("%s: %w", name, source.ErrNoRef)
	}
	return m.verifier.check(kind, o[0].id, o[0].body)
}
