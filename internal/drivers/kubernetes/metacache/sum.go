// Package metacache tells cheaply whether a target's objects moved: from the
// metadata of the server alone, kept up to date by watches that all targets
// share, or listed where watching is not possible.
//
// What counts of an object: its UID, whether it is being deleted, its
// generation, and the fields that trueup owns. Which fields those are, the
// server writes down with each object (metadata.managedFields): when anybody
// else gives one of them another value, or takes it away, the field leaves
// trueup's set. So a ConfigMap, which has no generation, is covered as well, and
// neither the status nor other people's labels and annotations count.
package metacache

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"io"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"trueup.dev/trueup/internal/client/kube"
)

// Want is one object whose state a fingerprint stands for.
type Want struct {
	kube.Mapping
	Namespace, Name string
	// Whole counts every change, also of the status: something is read from the
	// object.
	Whole bool
}

// keyOf is an object's place in a feed.
func keyOf(namespace, name string) string {
	if namespace == "" {
		return name
	}
	return namespace + "/" + name
}

// entry is what is kept of one object: 24 bytes in place of its metadata.
type entry struct {
	sum     [16]byte
	version uint64 // stands for the resource version
}

// entryOf digests an object's metadata. An object that has no fields of ours is
// told apart by its resource version.
func entryOf(o metav1.Object, managers []string) entry {
	h := sha256.New()
	put := func(parts ...string) {
		for _, p := range parts {
			var n [8]byte
			binary.BigEndian.PutUint64(n[:], uint64(len(p)))
			h.Write(n[:])
			_, _ = io.WriteString(h, p)
		}
	}
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(o.GetGeneration()))
	put(string(o.GetUID()), string(n[:]), map[bool]string{true: "ends"}[o.GetDeletionTimestamp() != nil])
	own := false
	for _, m := range o.GetManagedFields() {
		if m.Subresource != "" || m.FieldsV1 == nil || !slices.Contains(managers, m.Manager) {
			continue
		}
		fields, set := canonical(m.FieldsV1.GetRawBytes())
		meta, _ := set["f:metadata"].(map[string]any)
		// The texts of a Secret become data that nobody owns.
		_, moves := set["f:stringData"]
		at := ""
		if m.Time != nil {
			at = m.Time.UTC().Format("20060102150405")
		}
		put(m.Manager, string(m.Operation), m.APIVersion, at, fields)
		put(values(o.GetLabels(), meta, "f:labels")...)
		put(values(o.GetAnnotations(), meta, "f:annotations")...)
		own = !moves
	}
	if !own {
		put(o.GetResourceVersion())
	}
	e := entry{version: version(o.GetResourceVersion())}
	copy(e.sum[:], h.Sum(nil))
	return e
}

// canonical writes a set of fields in one way, whatever encoding it came by.
func canonical(raw []byte) (text string, set map[string]any) {
	var v map[string]any
	if err := json.Unmarshal(raw, &v); err != nil {
		return string(raw), nil
	}
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return string(raw), nil
	}
	return b.String(), v
}

// values gives the labels or annotations that are owned, in order.
func values(all map[string]string, meta map[string]any, part string) []string {
	owned, _ := meta[part].(map[string]any)
	var out []string
	for field := range owned {
		if name, ok := strings.CutPrefix(field, "f:"); ok {
			out = append(out, name+"="+all[name])
		}
	}
	slices.Sort(out)
	return out
}

func version(text string) uint64 {
	sum := sha256.Sum256([]byte(text))
	return binary.BigEndian.Uint64(sum[:8])
}

// fingerprint digests the state of objects, in an order that does not depend
// on theirs.
func fingerprint(items []item, of func(i int) (entry, bool)) string {
	lines := make([]string, len(items))
	for i, it := range items {
		e, there := of(i)
		b := make([]byte, 0, 128)
		b = append(b, it.kind.name+"/"+it.key...)
		if there {
			b = append(append(b, 0), e.sum[:]...)
			if it.whole {
				b = binary.BigEndian.AppendUint64(b, e.version)
			}
		}
		lines[i] = string(b)
	}
	slices.Sort(lines)
	h := sha256.New()
	for _, l := range slices.Compact(lines) {
		_, _ = io.WriteString(h, l)
		h.Write([]byte{0, 0})
	}
	return "1:" + hex.EncodeToString(h.Sum(nil)[:16])
}
