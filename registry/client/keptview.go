package client

import (
	"bytes"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/theupdateframework/go-tuf/v2/metadata"
	"github.com/theupdateframework/go-tuf/v2/metadata/trustedmetadata"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// A registry with thousands of authors has files of megabytes that say who owns which namespace. To read and verify them
// takes most of a second; after a restart they are usually the same, byte for byte. So a client keeps what it read in
// them beside the digests of all files that this came from and of the root that they were verified under. It is used
// again only while all of those are the same; dates are held against the clock as ever, and the file of a namespace is
// verified with its author's keys each time.

// keptRules is raised with every change of our rules for metadata: what was read under other rules is not used again.
const keptRules = 1

// keptHead is the first line of the file; each other one is a namespace and its keptSpace.
type keptHead struct {
	Rules    int               `json:"rules"`
	Root     string            `json:"root"`  // digest of the newest root
	Files    map[string]string `json:"files"` // digests of the files in metadata/
	Expires  time.Time         `json:"expires"`
	Snapshot keptRole          `json:"snapshot"`
	Claimed  *keptRole         `json:"claimed,omitempty"`
	Recent   *keptRole         `json:"recent,omitempty"`
	List     string            `json:"list"` // digest of the list of revocations
	Length   int64             `json:"length"`
}

type keptRole struct {
	Version int64     `json:"version"`
	Expires time.Time `json:"expires"`
}

// keptSpace is who vouches for a namespace, and the file in which they do.
type keptSpace struct {
	Via       string            `json:"via"`
	KeyIDs    []string          `json:"key_ids"`
	Threshold int               `json:"threshold"`
	Keys      map[string]string `json:"keys"` // by id, hexadecimal
	Version   int64             `json:"version,omitempty"`
	Length    int64             `json:"length,omitempty"`
	SHA256    string            `json:"sha256,omitempty"` // "" when the snapshot does not list it
}

const (
	keptFile = "view.json"
	maxKept  = 64 << 20
)

// keptSpaces are the lines of the file but the first, each with a line feed before and after it.
type keptSpaces []byte

// find halves the lines, which are in the order of the namespaces, until it comes to the one it looks for.
func (k keptSpaces) find(ns string) (keptSpace, bool) {
	rest := bytes.TrimPrefix(k, []byte("\n"))
	for len(rest) > 0 {
		start := bytes.LastIndexByte(rest[:len(rest)/2], '\n') + 1
		line, after, _ := bytes.Cut(rest[start:], []byte("\n"))
		name, value, _ := bytes.Cut(line, []byte(" "))
		switch strings.Compare(ns, string(name)) {
		case -1:
			rest = rest[:start]
		case 1:
			rest = after
		default:
			var s keptSpace
			return s, json.Unmarshal(value, &s) == nil
		}
	}
	return keptSpace{}, false
}

func (k keptSpaces) each(f func(ns string)) {
	for line := range bytes.Lines(k) {
		if ns, _, ok := strings.Cut(string(line), " "); ok {
			f(ns)
		}
	}
}

// keptFiles are the files of metadata that a view hangs on.
func keptFiles(set *trustedmetadata.TrustedMetadata) []string {
	names := []string{"timestamp.json", "snapshot.json"}
	for _, role := range []string{metadata.TARGETS, tufrules.RoleSecurity, tufrules.RoleOfficial, tufrules.RoleClaimed, tufrules.RoleRecent} {
		if set.Targets[role] != nil {
			names = append(names, role+".json")
		}
	}
	return names
}

// keepView writes down what a refresh read. It comes after the files themselves; failing costs only time.
func (c *Client) keepView(v *view, root *trustedRoot) error {
	if v.broken() {
		return nil
	}
	set := &v.set
	head := keptHead{
		Rules: keptRules, Root: registry.Digest(root.data), Files: map[string]string{}, Expires: v.expires,
		Snapshot: keptRole{set.Snapshot.Signed.Version, set.Snapshot.Signed.Expires},
		Claimed:  keptRoleOf(set, tufrules.RoleClaimed), Recent: keptRoleOf(set, tufrules.RoleRecent),
		List: v.list.digest, Length: v.list.length,
	}
	for _, name := range keptFiles(set) {
		data, err := durable.ReadFile(c.home("metadata/"+name), tufrules.MaxTargets)
		if err != nil {
			return err
		}
		head.Files[name] = registry.Digest(data)
	}
	first, err := json.Marshal(head)
	if err != nil {
		return err
	}
	out := bytes.NewBuffer(append(first, '\n'))
	for _, ns := range v.namespaces() {
		d, via, found := v.delegated(ns)
		if !found {
			continue
		}
		line, err := json.Marshal(keptSpaceOf(set, d, via))
		if err != nil {
			return err
		}
		fmt.Fprintf(out, "%s %s\n", ns, line)
	}
	return durable.WriteFile(c.home(keptFile), out.Bytes(), 0o600)
}

func keptRoleOf(set *trustedmetadata.TrustedMetadata, role string) *keptRole {
	m := set.Targets[role]
	if m == nil {
		return nil
	}
	return &keptRole{m.Signed.Version, m.Signed.Expires}
}

func keptSpaceOf(set *trustedmetadata.TrustedMetadata, d metadata.DelegatedRole, via string) keptSpace {
	s := keptSpace{Via: via, KeyIDs: d.KeyIDs, Threshold: d.Threshold, Keys: map[string]string{}}
	for _, id := range d.KeyIDs {
		if key := set.Targets[via].Signed.Delegations.Keys[id]; key != nil {
			s.Keys[id] = key.Value.PublicKey
		}
	}
	if info := set.Snapshot.Signed.Meta[d.Name+".json"]; info != nil {
		s.Version, s.Length, s.SHA256 = info.Version, info.Length, hex.EncodeToString(info.Hashes["sha256"])
	}
	return s
}

// keptView returns the view of an earlier process, nil when there is none that holds.
func (c *Client) keptView(root *trustedRoot) *view {
	data, err := durable.ReadFile(c.home(keptFile), maxKept)
	if err != nil {
		return nil
	}
	first, _, ok := bytes.Cut(data, []byte("\n"))
	var head keptHead
	if !ok || json.Unmarshal(first, &head) != nil || head.Rules != keptRules || head.Root != registry.Digest(root.data) || !c.now().Before(head.Expires) {
		return nil
	}
	v, err := c.rebuild(head, root)
	if err != nil {
		return nil
	}
	v.head, v.kept = &head, keptSpaces(data[len(first):])
	return v
}

var errOtherFiles = errors.New("the files are others than those that were read")

// rebuild makes a view from the files that are small, and from what was kept of the others.
func (c *Client) rebuild(head keptHead, root *trustedRoot) (v *view, err error) {
	defer recoverTo(&err)
	set, err := trustedmetadata.New(root.data)
	if err != nil {
		return nil, err
	}
	v = &view{first: &space{}, spaces: map[string]*space{}, expires: head.Expires, rootVersion: root.meta.Signed.Version,
		list: vouched{digest: head.List, length: head.Length}}
	files := map[string][]byte{}
	for name, digest := range head.Files {
		if files[name], err = durable.ReadFile(c.home("metadata/"+name), tufrules.MaxTargets); err != nil {
			return nil, err
		}
		if registry.Digest(files[name]) != digest {
			return nil, errOtherFiles
		}
	}
	v.timestamp = files["timestamp.json"]
	if set.Timestamp, err = tufrules.Timestamp(v.timestamp); err != nil {
		return nil, err
	}
	set.Snapshot = metadata.Snapshot(head.Snapshot.Expires)
	set.Snapshot.Signed.Version, set.Snapshot.Signed.Meta = head.Snapshot.Version, map[string]*metadata.MetaFiles{}
	for _, role := range []string{metadata.TARGETS, tufrules.RoleSecurity, tufrules.RoleOfficial} {
		if set.Targets[role], err = tufrules.Targets(role, files[role+".json"]); err != nil {
			return nil, err
		}
	}
	for role, kept := range map[string]*keptRole{tufrules.RoleClaimed: head.Claimed, tufrules.RoleRecent: head.Recent} {
		if kept == nil {
			continue
		}
		m := metadata.Targets(kept.Expires)
		m.Signed.Version, m.Signed.Delegations = kept.Version, &metadata.Delegations{Keys: map[string]*metadata.Key{}}
		set.Targets[role] = m
	}
	for _, d := range set.Targets[metadata.TARGETS].Signed.Delegations.Roles {
		switch d.Name {
		case tufrules.RoleRevokers:
			v.revokers = &d
		case tufrules.RoleOfficial:
			if err := v.first.add(d, registry.ViaOfficial, set.Targets[d.Name]); err != nil {
				return nil, err
			}
		}
	}
	v.set = *set
	return v, nil
}

// fill puts what was kept of a namespace where go-tuf looks for it when it verifies the namespace's file.
func (v *view) fill(ns string) error {
	s, found := v.kept.find(ns)
	if !found {
		return nil
	}
	delegations := v.set.Targets[s.Via].Signed.Delegations
	for id, hexadecimal := range s.Keys {
		public, err := registry.ParsePublicKey(hexadecimal)
		if err != nil {
			return err
		}
		if delegations.Keys[id], err = metadata.KeyFromPublicKey(public); err != nil {
			return err
		}
	}
	delegations.Roles = append(delegations.Roles, s.role(ns))
	if s.SHA256 == "" {
		return nil
	}
	sum, err := hex.DecodeString(s.SHA256)
	if err != nil {
		return err
	}
	v.set.Snapshot.Signed.Meta[tufrules.RoleNamespacePrefix+ns+".json"] = &metadata.MetaFiles{
		Version: s.Version, Length: s.Length, Hashes: metadata.Hashes{"sha256": sum},
	}
	return nil
}

// role is the delegation; its shape follows from our rules.
func (s keptSpace) role(ns string) metadata.DelegatedRole {
	return metadata.DelegatedRole{
		Name: tufrules.RoleNamespacePrefix + ns, KeyIDs: s.KeyIDs, Threshold: s.Threshold,
		Paths: []string{tufrules.NamespacePattern(ns)}, Terminating: true,
	}
}
