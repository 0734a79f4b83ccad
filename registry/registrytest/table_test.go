package registrytest

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write docs/registry-attacks.md anew")

// elsewhere are attacks that need more than a registry and a client, and the tests that make them.
var elsewhere = []struct{ name, ends, where string }{
	{"a server that was broken into orders an agent to run what nobody signed", "refused by the agent, with each of the reasons above", "internal/e2e TestWhatIsNotVouchedForDoesNotRun"},
	{"a byte changed on a node's disk between two starts", "`digest_mismatch`", "internal/e2e TestABytesChangedOnDiskIsFoundAtTheNextStart"},
	{"a model swapped on a node's disk after it was verified, also for one of 10 GiB", "`digest_mismatch` or `oversized`; what is open stays as it was", "registry/client TestAttackModelSwappedOnDisk"},
	{"a model swapped between two starts of the plugin that reads it", "`digest_mismatch`; what runs reads what was verified", "core/kernel/pluginhost TestAttackModelSwappedBeforeTheStart"},
	{"a model that was withdrawn", "the plugin that reads it stops, and says why", "core/kernel/pluginhost TestAttackRevokedModel"},
	{"a plugin that changes its model, or opens another plugin's", "refused by the kernel's seals, or by the broker, which notes it", "core/kernel/pluginhost TestAttackModelOfOthers"},
	{"models that would fill the memory", "refused", "core/kernel/pluginhost TestAttackModelsTooLarge"},
	{"a FIFO, a link or a folder where a file should be", "refused, without waiting on it", "registry/client TestOddFilesInAFolder"},
	{"a node killed while it installs", "whole or not at all after the restart", "registry/client TestKilledAtAnyMoment"},
	{"a node killed at each step of an installation of several plugins", "all of them or none after the restart", "registry/client TestAttackKilledAtEveryStep"},
	{"a disk that is full from each step on, and at one step alone", "`disk_full`; all of them or none, and what runs starts", "registry/client TestAttackDiskFullAtEveryStep"},
	{"the private registry's namespace in the public one, with a far higher version", "`dependency_confusion`; the private registry's release is taken", "registry/registrytest TestAttackDependencyConfusionByAHigherVersion"},
	{"the private registry kept from answering while the public one offers its namespace", "`unreachable`", "registry/registrytest TestAttackDependencyConfusionWhileThePrivateRegistryIsSilent"},
	{"a namespace that the node took from one registry, offered by another one later", "`dependency_confusion`", "registry/registrytest TestAttackDependencyConfusionAfterFirstUse"},
	{"a new registry that is asked first offers what is installed from another", "not taken from it", "registry/registrytest TestAttackDependencyConfusionByANewRegistry"},
	{"another registry under the name of one that the node knows", "`root_mismatch`", "registry/registrytest TestAttackRegistryReplacedUnderItsName"},
	{"a namespace in one registry that looks like one of another", "`dependency_confusion`", "registry/registrytest TestAttackLookAlikeAcrossRegistries"},
	{"a private registry that offers more than the node's owner trusts it with", "not taken from it", "registry/registrytest TestAttackPrivateRegistryOffersMoreThanItsNamespaces"},
	{"a private registry that is asked first offers the project's own plugins", "not taken from it", "registry/registrytest TestAttackPrivateRegistryOffersTheProjectsPlugins"},
	{"one registry revokes the plugins of another", "has no effect", "registry/registrytest TestAttackRevocationByAnotherRegistry"},
	{"a server that lies about which part of an artifact it sends", "the whole is asked for; wrong bytes are refused", "registry/client TestAttackRangeLies"},
	{"a bundle with paths, links, devices, other bytes or more bytes than announced", "refused while reading, nothing is written elsewhere", "registry/bundle TestAttackHostileBundles"},
	{"a bundle without end", "refused while reading", "registry/bundle TestAttackEndlessBundle"},
	{"a bundle of another registry", "`root_mismatch`", "registry/bundle TestAttackBundleOfAnotherRegistry"},
	{"a bundle with a namespace that the site has of its own", "refused at the border", "registry/bundle TestAttackBundleInANamespaceOfTheSite"},
	{"an older bundle after a newer one", "`rollback`", "registry/bundle TestBundleThatContinuesAnEarlierOne"},
	{"a disk that is full from some step of an import on", "the site's registry is in order, and importing again finishes", "registry/bundle TestAttackDiskFullDuringAnImport"},
	{"a site that puts words into an author's mouth", "`not_vouched` or `bad_signature` from `picket plugin verify --author-root-sha256`", "registry/bundle TestAttackSiteForgesAnAuthor"},
	{"a site's knowledge made to look newer than it is", "has no effect", "registry/bundle TestAttackKnowledgeMadeToLookNew"},
	{"an index signed with a stolen online key", "makes nobody look official, hides no revocation, invents no namespace", "registry/client TestAttackIndexOfAStolenOnlineKey"},
	{"an index that was changed, is older, or is another registry's", "not used; every namespace is asked", "registry/client TestIndexThatDoesNotFitIsNotUsed"},
	{"a registry that lies to its mirror, in each of the ways of registrytest.Lies", "the copy tells none of it", "registry/mirror TestAttackLyingUpstream"},
	{"a thousand receipts and reviews that are forged, repeated, replayed, of strangers or of the future", "no number changes", "registry/server TestThousandForgedReceiptsChangeNothing"},
	{"a registry's server asked for what lies in its folder and is none of the registry's files", "not found", "registry/server TestFilesThatAreServed"},
	{"two programs on one node at once", "one after the other", "registry/client TestManyAtOnce"},
	{"a node's folder that others may write", "refused", "registry/client TestNodeFolderOfOthersIsRefused"},
	{"a key file that others may read", "refused", "registry/publish TestKeysOfOthersAreRefused"},
	{"a draft that somebody changed on its way to a signer", "refused when it comes back, and shown in plain words where it is signed", "registry/publish TestDraftThatWasTamperedWith"},
}

// rules are those of the client workflow in The Update Framework's specification, version 1.0.33, sections 5.1 to 5.7.
// Each names the attacks of the table (in quotes) or the tests that would fail without it.
var rules = []struct{ number, text, where string }{
	{"5.1", "time is fixed when the update starts", `"the same state for ever", "the clock set back to when an old state was fresh"`},
	{"5.2", "start from the trusted root on disk, never from the network", `"a registry on another root", client TestRootOfTrust`},
	{"5.3.2, 5.3.3", "fetch version N+1 of root, up to a limit of bytes", `"a root of half a gigabyte", client TestNodeThatSleptFollowsManyRoots`},
	{"5.3.4", "N+1 is signed by a threshold of N and of N+1", `"a root signed by its successor's keys alone", "a stolen key of root, replaced since", "a threshold of 0", "a key named twice to meet a threshold", "one key under two ids"`},
	{"5.3.5", "the version is exactly N+1", `"a root that skips a version"`},
	{"5.3.6", "an intermediate root may have expired", `client TestSleptBeyondIntermediateRoots`},
	{"5.3.7, 5.3.8", "each root is trusted and kept before the next is fetched", `client TestRootRotation`},
	{"5.3.9", "repeat up to the newest, with a bound on how many", `client TestNodeThatSleptFollowsManyRoots`},
	{"5.3.10", "the last root must not have expired", `"a root that has expired"`},
	{"5.3.11", "timestamp and snapshot are forgotten when their keys changed (recovery from fast-forward)", `"stolen online keys: versions far ahead", client TestFastForwardRecovery`},
	{"5.3.12", "consistent snapshots are as the root says; ours demands them", `"a root without consistent snapshots"`},
	{"5.4.1", "fetch the timestamp, up to a limit of bytes", `"an endless timestamp", "an answer that never ends"`},
	{"5.4.2", "it is signed by a threshold of the root's keys", `"a timestamp signed by somebody else", "a stolen key of timestamp, replaced since"`},
	{"5.4.3.1", "its version is not below the one that is known; an equal one changes nothing", `"an older state", client TestRollbackMemorySurvivesRestart, client TestEqualTimestampChangesNothing`},
	{"5.4.3.2", "the snapshot's version in it is not below the one that is known", `"stolen online keys: versions far ahead", client TestSnapshotVersionMustNotFall`},
	{"5.4.4", "it has not expired", `"the same state for ever"`},
	{"5.4.5", "it is kept, also if the update fails later", `client TestFailedRefreshIsRemembered`},
	{"5.5.1, 5.5.2", "fetch the snapshot up to its length; its hash is the timestamp's", `"a snapshot in the place of the timestamp", client TestSnapshotOtherThanTheTimestampSays`},
	{"5.5.3", "it is signed by a threshold of the root's keys", `"a stolen key of snapshot, replaced since"`},
	{"5.5.4", "its version is the one in the timestamp", `client TestSnapshotOtherThanTheTimestampSays`},
	{"5.5.5", "no role's version falls and no role disappears", `"a snapshot that puts a role back", "a snapshot that leaves a role out"`},
	{"5.5.6", "it has not expired", `"the clock set back to when an old state was fresh"`},
	{"5.5.7", "it is kept", `client TestRollbackMemorySurvivesRestart`},
	{"5.6.1, 5.6.2", "fetch targets up to its length; its hash is the snapshot's", `"a date changed in a role file", "a snapshot that announces gigabytes", "a snapshot without hashes"`},
	{"5.6.3", "it is signed by a threshold of its delegator's keys", `"a stolen key of targets, replaced since", "a stolen key of official, replaced since", "a stolen key of claimed, replaced since"`},
	{"5.6.4", "its version is the one in the snapshot", `"an old role file under a new snapshot", "an old file of an author under a new snapshot"`},
	{"5.6.5", "it has not expired", `client TestExpiredAuthorRole`},
	{"5.6.6", "it is kept", `client TestFailedRefreshIsRemembered`},
	{"5.6.7", "delegations are searched in their order, no role twice, a terminating one last; cycles end", `"a delegation cycle through targets", "a delegation cycle through itself", "stolen online keys: a namespace that maintainers confirmed", "an author that delegates on", "revocations not asked for first"`},
	{"5.7.1, 5.7.2", "a target is one that the roles found for it vouch for", `"an author in somebody else's namespace", "the official role in an author's namespace", "an author who vouches for one of the project's plugins"`},
	{"5.7.3", "a target has the length and the hash that were signed", `"one byte of a descriptor flipped", "one byte of an artifact flipped", "an artifact with bytes appended", "an artifact cut short"`},
}

const page = "../../docs/registry-attacks.md"

// The page in docs is what the tests do.
func TestAttacksPage(t *testing.T) {
	want := attacksPage(t)
	if *update {
		if err := os.WriteFile(page, want, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Error("docs/registry-attacks.md is not what the tests do; run: go test ./registry/registrytest -run TestAttacksPage -update")
	}
}

func attacksPage(t *testing.T) []byte {
	t.Helper()
	var b bytes.Buffer
	fmt.Fprint(&b, `# Attacks on the registry, and how each ends

Generated by `+"`go test ./registry/registrytest -run TestAttacksPage -update`"+`; the tests fail when it is not what they do.

Each attack of the first table is a sub-test of the same name of `+"`TestAttacks`"+` in registry/registrytest: a registry with real
keys is served over HTTP, a real client has seen its true state, then it happens. What a node refuses it refuses with the
reason in the second column, which is stable and stands in audit logs too.

| attack | ends with |
|---|---|
`)
	names := map[string]bool{}
	for _, a := range attacks() {
		ends := a.ends
		if a.reason != "" {
			ends = "`" + string(a.reason) + "`"
		}
		fmt.Fprintf(&b, "| %s | %s |\n", a.name, ends)
		names[a.name] = true
	}
	fmt.Fprint(&b, "\n## Tested elsewhere\n\n| attack | ends with | test |\n|---|---|---|\n")
	for _, e := range elsewhere {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", e.name, e.ends, e.where)
		pkg, test, _ := strings.Cut(e.where, " ")
		wantTest(t, pkg, test)
	}
	fmt.Fprint(&b, `
## The client workflow of the specification, rule by rule

Sections 5.1 to 5.7 of [The Update Framework's specification](https://theupdateframework.github.io/specification/latest/),
and the attacks (in quotes) and tests of package registry/client that fail without each rule.

| rule | what it says | tested by |
|---|---|---|
`)
	for _, r := range rules {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", r.number, r.text, r.where)
		for _, m := range regexp.MustCompile(`"([^"]+)"`).FindAllStringSubmatch(r.where, -1) {
			if !names[m[1]] {
				t.Errorf("rule %s names the attack %q, which there is not", r.number, m[1])
			}
		}
		for _, m := range regexp.MustCompile(`client (Test\w+)`).FindAllStringSubmatch(r.where, -1) {
			wantTest(t, "registry/client", m[1])
		}
	}
	return b.Bytes()
}

// wantTest makes sure that a test that the page names exists.
func wantTest(t *testing.T, pkg, name string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join("..", "..", filepath.FromSlash(pkg), "*_test.go"))
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range files {
		text, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		if bytes.Contains(text, []byte("func "+name+"(")) {
			return
		}
	}
	t.Errorf("the page names %s of %s, which there is not", name, pkg)
}
