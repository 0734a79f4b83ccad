package registrycmd

import (
	"fmt"
	"io"
	"os"
	"time"

	"github.com/schollz/progressbar/v3"
	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/registry/mirror"
)

func mirrorCmd() *cobra.Command {
	var dir, from, root string
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "mirror --from URL --root-sha256 DIGEST --dir DIR",
		Short: "Copy a whole registry, verified; run it again to bring the copy up to date",
		Long: `Copy a whole registry, verified; run it again to bring the copy up to date.

The copy is signed by the registry it comes from and by nobody else: it can be behind, and that is all it can be. Nodes
use it as they use the registry, with the same root. The new state appears when all of it is there; what broke off goes
on where it stopped. The root is pinned the first time.`,
		Example: "  picket registry mirror --from https://registry.example/ --root-sha256 3f2a… --dir /srv/registry",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			m, err := mirror.Open(mirror.Config{Dir: dir, From: from, RootSHA256: root})
			if err != nil {
				return err
			}
			defer m.Close()
			show, clearBar := progressOn(cmd.ErrOrStderr(), "mirror")
			done, err := m.All(cmd.Context(), func(p mirror.Progress) { show(p.Bytes, p.TotalBytes) })
			clearBar()
			if err != nil {
				return err
			}
			if asJSON {
				return columns.JSON(cmd.OutOrStdout(), done)
			}
			columns.New(cmd.OutOrStdout()).Line(columns.C(fmt.Sprintf("%s, %s in %s, snapshot %d", columns.Count(done.Releases, "release"),
				columns.Bytes(done.Bytes), columns.Count(int(done.Files), "file"), done.Snapshot)))
			return nil
		},
	}
	cmd.Flags().StringVar(&from, "from", "", "the registry's address or folder")
	cmd.Flags().StringVar(&root, "root-sha256", "", "the digest of its root.json (the first time)")
	cmd.Flags().StringVar(&dir, "dir", "", "the folder of the copy")
	cmd.Flags().BoolVar(&asJSON, "json", false, "print JSON")
	require(cmd, "from", "dir")
	return cmd
}

// progressOn shows how far something came, on a terminal only.
func progressOn(stderr io.Writer, what string) (show func(done, total int64), clearBar func()) {
	f, ok := stderr.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) {
		return func(int64, int64) {}, func() {}
	}
	bar := progressbar.NewOptions64(-1, progressbar.OptionSetWriter(stderr), progressbar.OptionSetDescription(what),
		progressbar.OptionShowBytes(true), progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish())
	show = func(done, total int64) {
		bar.ChangeMax64(max(total, 1))
		_ = bar.Set64(done) // a bar that cannot be drawn is no reason to stop
	}
	return show, func() { _ = bar.Clear() }
}
