package registrycmd

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/picketwatch/picket/cmd/picket/internal/columns"
	"github.com/picketwatch/picket/cmd/picket/internal/gatecheck"
	"github.com/picketwatch/picket/registry/intake"
	"github.com/picketwatch/picket/registry/publish"
)

// intake takes releases in while the server runs.
func (s serving) intake(cmd *cobra.Command, keeper *publish.Keeper, log *slog.Logger) (*intake.Intake, error) {
	cfg, err := s.gates.Config()
	if err != nil {
		return nil, err
	}
	return intake.Open(cmd.Context(), intake.Config{
		Dir: filepath.Join(s.dir, ".server", "intake"), Registry: keeper, Gates: cfg, Log: log,
	})
}

func acceptCmd() *cobra.Command {
	var f folders
	var options gatecheck.Options
	cmd := &cobra.Command{
		Use:   "accept --dir DIR --keys DIR ARCHIVE",
		Short: "Take in a release that an author packed, as picket registry serve does over the wire",
		Long: `Take in a release that an author packed (picket plugin pack), as picket registry serve does over the wire.

The author's signatures are checked, the gates look at it, and it is published with a card that says what they found.`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return accept(cmd, f, options, args[0]) },
	}
	f.flags(cmd)
	options.Flags(cmd)
	return cmd
}

func accept(cmd *cobra.Command, f folders, options gatecheck.Options, path string) error {
	cfg, err := options.Config()
	if err != nil {
		return err
	}
	keeper, err := publish.NewKeeper(f.config(cmd))
	if err != nil {
		return err
	}
	scratch, err := os.MkdirTemp("", "picket-accept-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(scratch)
	in, err := intake.Open(cmd.Context(), intake.Config{Dir: scratch, Registry: keeper, Gates: cfg})
	if err != nil {
		return err
	}
	defer in.Close()
	archive, err := os.Open(path)
	if err != nil {
		return err
	}
	defer archive.Close()
	job, err := in.Submit(cmd.Context(), archive)
	if err != nil {
		return err
	}
	if job, err = in.Wait(cmd.Context(), job.ID); err != nil {
		return err
	}
	if f.asJSON {
		err = columns.JSON(cmd.OutOrStdout(), job)
	} else {
		gatecheck.Print(columns.New(cmd.OutOrStdout()), job.Gates)
	}
	if err == nil && job.State != intake.StatePublished {
		err = fmt.Errorf("%s %s was not published: %w", job.Plugin, job.Version, errors.New(job.Problem))
	}
	if err == nil && !f.asJSON {
		columns.New(cmd.OutOrStdout()).Line(columns.S(columns.Good, "published "), columns.C(job.Plugin+" "+job.Version))
	}
	return err
}
