package registry

import "strings"

// Reason says why something was refused. The values are stable: audit entries and scripts carry them.
type Reason string

const (
	RootMismatch       Reason = "root_mismatch"        // another root of trust than the pinned one
	DevelopmentRoot    Reason = "development_root"     // a development root where none is allowed
	BadSignature       Reason = "bad_signature"        // too few valid signatures
	BadMetadata        Reason = "bad_metadata"         // metadata that does not parse or breaks our rules
	Rollback           Reason = "rollback"             // an older state than the node has seen
	Expired            Reason = "expired"              // a role's signature is out of date
	MixAndMatch        Reason = "mix_and_match"        // metadata files that do not belong together
	WrongNamespace     Reason = "wrong_namespace"      // vouched for by a role that may not speak for this namespace
	NotVouched         Reason = "not_vouched"          // no role vouches for it
	DescriptorMismatch Reason = "descriptor_mismatch"  // the descriptor is not the one that was signed or locked
	DigestMismatch     Reason = "digest_mismatch"      // the bytes are not those the descriptor names
	Oversized          Reason = "oversized"            // more bytes than announced or allowed
	Revoked            Reason = "revoked"              // withdrawn by the registry's security role
	Yanked             Reason = "yanked"               // taken off the shelf by its author; what runs keeps running
	RecentOnly         Reason = "recent_only"          // only the registry's online key vouches for the namespace
	NoArtifact         Reason = "no_artifact"          // nothing for this runtime and platform
	NotInstalled       Reason = "not_installed"        // not in plugins.lock
	Unreachable        Reason = "unreachable"          // the registry did not answer, or not fast enough
	BeyondCeiling      Reason = "beyond_ceiling"       // the node's policy.yaml does not allow it
	NotEnforced        Reason = "not_enforced"         // this machine could not hold the plugin to it
	BadLocalState      Reason = "bad_local_state"      // this node's own files were damaged or changed
	DiskFull           Reason = "disk_full"            // no room on this machine; nothing was changed
	Unsolvable         Reason = "unsolvable"           // no versions of the plugins fit together
	Confusion          Reason = "dependency_confusion" // another registry than the owner of a namespace offers it
	Stale              Reason = "stale"                // this node has not heard of the registry for longer than its policy allows
	Busy               Reason = "busy"                 // another process of this node holds the lock for too long
)

// Refusal is the error of everything in the registry that says no. Plugin is empty when the registry as a whole was
// refused.
type Refusal struct {
	Plugin  string
	Version string
	Reason  Reason
	Err     error
}

func (r *Refusal) Error() string {
	var b strings.Builder
	b.WriteString("refused ")
	switch {
	case r.Plugin != "" && r.Version != "":
		b.WriteString("plugin " + r.Plugin + " " + r.Version)
	case r.Plugin != "":
		b.WriteString("plugin " + r.Plugin)
	default:
		b.WriteString("the registry")
	}
	b.WriteString(" (" + string(r.Reason) + ")")
	if r.Err != nil {
		b.WriteString(": " + strings.TrimSuffix(r.Err.Error(), "."))
	}
	if hint := r.Hint(); hint != "" {
		b.WriteString("; " + hint)
	}
	return b.String()
}

func (r *Refusal) Unwrap() error { return r.Err }

// Hint says what to do next.
func (r *Refusal) Hint() string {
	switch r.Reason {
	case RootMismatch:
		return "check the address of the registry; if its root really changed, enrol this node anew with the new root"
	case DevelopmentRoot:
		return "use a registry with a real root of trust, or start a development build with --dev"
	case BadSignature, BadMetadata, MixAndMatch, WrongNamespace, NotVouched, DescriptorMismatch, Oversized:
		return "ask whoever runs the registry; `picket registry verify` checks it file by file"
	case Rollback:
		return "the registry or a mirror on the way serves an older state; have it restored to the newest one"
	case Expired:
		return "have the registry sign again (`picket registry timestamp`) and check this machine's clock; what is installed keeps starting"
	case DigestMismatch:
		return "the bytes were changed; `picket plugin install` fetches them again if the registry has the right ones"
	case Revoked:
		return "install a version that is not revoked"
	case Yanked:
		return "choose another version, or name exactly this one by its descriptor: sha256:DIGEST"
	case RecentOnly:
		return "wait until the maintainers confirm the namespace, or write `recent: allow` into this machine's policy.yaml"
	case NoArtifact:
		return "choose another runtime, or ask the author to build for this platform"
	case NotInstalled:
		return "install it first: `picket plugin install`"
	case Unreachable:
		return "check the address and the network; what is installed keeps starting"
	case BeyondCeiling:
		return "the owner of this machine can widen its policy.yaml"
	case Busy:
		return "try again; if it stays so, see which process uses this folder"
	case DiskFull:
		return "free some space and try again; what is installed keeps starting"
	case Unsolvable:
		return "name other versions, or install without one of them"
	case Confusion:
		return "if the namespace really moved, the owner of this machine pins it to one registry in policy.yaml (key registries)"
	case Stale:
		return "bring this node news of the registry: let it reach one, or import a newer bundle; what is installed keeps starting"
	case BadLocalState:
		return "restore this folder from a backup, or remove it and enrol the node anew"
	}
	return ""
}

// For returns the refusal with the plugin named, unless it names one already.
func (r *Refusal) For(plugin, version string) *Refusal {
	named := *r
	if named.Plugin == "" {
		named.Plugin, named.Version = plugin, version
	}
	return &named
}
