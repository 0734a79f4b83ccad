package api

import (
	"context"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"time"

	"filippo.io/age"
	"github.com/danielgtaylor/huma/v2"

	"github.com/picketwatch/picket/core/kernel/audit"
	"github.com/picketwatch/picket/core/kernel/auth"
	"github.com/picketwatch/picket/core/kernel/backup"
	"github.com/picketwatch/picket/core/kernel/store"
)

// States of a backup.
const (
	BackupRunning = "running"
	BackupDone    = "done"
)

// Backup is one that is kept, or being made.
type Backup struct {
	Name      string    `json:"name"`
	Mode      string    `json:"mode" enum:"full,data,config"`
	Created   time.Time `json:"created"`
	Size      int64     `json:"size"`
	Encrypted bool      `json:"encrypted"`
	Scheduled bool      `json:"scheduled"`
	State     string    `json:"state" enum:"running,done"`
}

// BackupOrder asks for a backup.
type BackupOrder struct {
	Mode       string `json:"mode" enum:"full,data,config" default:"full" doc:"data leaves samples out, config all that was measured or found."`
	Recipient  string `json:"recipient,omitempty" maxLength:"200" doc:"Encrypt it for this key of age (age1…)."`
	Passphrase string `json:"passphrase,omitempty" maxLength:"1000" doc:"Encrypt it with this passphrase, which is kept nowhere."`
	Captures   bool   `json:"captures,omitempty" doc:"With the bytes of the captures that people handed in."`
}

// Backups makes and keeps backups.
type Backups interface {
	// Start begins one and returns at once; done is told how it ended.
	Start(ctx context.Context, o BackupOrder, scheduled bool, done func(Backup, error)) (Backup, error)
	// List also says why the last one failed.
	List() (list []Backup, failed string, err error)
	Open(name string) (*os.File, error)
	Delete(name string) error
}

type backupsBody struct {
	Items  []Backup `json:"items" nullable:"false"`
	Failed string   `json:"failed" doc:"Why the last one failed, empty when it did not."`
}

type backupName struct {
	Name string `path:"name" maxLength:"100"`
}

type backupReport struct {
	Mode      string    `json:"mode"`
	Version   string    `json:"version"`
	Created   time.Time `json:"created"`
	Files     int       `json:"files"`
	Bytes     int64     `json:"bytes"`
	Encrypted bool      `json:"encrypted"`
}

func (s *Server) backupRoutes() {
	tags := []string{"backups"}
	handle(s, huma.Operation{OperationID: "list-backups", Method: http.MethodGet, Path: "/api/v1/admin/backups", Tags: tags,
		Summary: "Backups that are kept on the server, and the one that is being made"}, s.listBackups)
	handle(s, huma.Operation{OperationID: "create-backup", Method: http.MethodPost, Path: "/api/v1/admin/backups", Tags: tags, DefaultStatus: http.StatusAccepted,
		Summary: "Begin a backup"}, s.createBackup)
	handle(s, huma.Operation{OperationID: "verify-backup", Method: http.MethodPost, Path: "/api/v1/admin/backups/{name}/verify", Tags: tags,
		Summary: "Read a backup from end to end and compare every digest"}, s.verifyBackup)
	handle(s, huma.Operation{OperationID: "delete-backup", Method: http.MethodDelete, Path: "/api/v1/admin/backups/{name}", Tags: tags, DefaultStatus: http.StatusNoContent,
		Summary: "Remove a backup"}, s.deleteBackup)
	handle(s, huma.Operation{OperationID: "download-backup", Method: http.MethodGet, Path: "/api/v1/admin/backups/{name}", Tags: tags,
		Summary: "Download a backup"}, s.downloadBackup)
}

func (s *Server) listBackups(context.Context, *struct{}) (*body[backupsBody], error) {
	list, failed, err := s.cfg.Backups.List()
	if list == nil {
		list = []Backup{}
	}
	return &body[backupsBody]{Body: backupsBody{list, failed}}, err
}

func (s *Server) createBackup(ctx context.Context, in *struct{ Body BackupOrder }) (*body[Backup], error) {
	by := caller(ctx)
	made, err := s.cfg.Backups.Start(ctx, in.Body, false, func(made Backup, err error) {
		s.backedUp(by, made, err)
	})
	if err != nil {
		s.act(ctx, "backup.create", "backup:", in.Body.Mode, err)
		return nil, err
	}
	return &body[Backup]{Body: made}, nil
}

// backedUp writes down how a backup ended; who asked for it may be gone by then.
func (s *Server) backedUp(by auth.Identity, made Backup, err error) {
	e := audit.Entry{Tenant: by.Tenant, Actor: by.Actor(), Action: "backup.create", Object: "backup:" + made.Name,
		Detail: made.Mode + ", " + strconv.FormatInt(made.Size, 10) + " bytes"}
	if err != nil {
		e.Outcome, e.Detail = audit.Failed, err.Error()
		s.cfg.Log.Error("backup", "error", err)
	}
	if err := s.cfg.Audit.Record(context.Background(), e); err != nil {
		s.cfg.Log.Error("audit", "error", err)
	}
}

func (s *Server) verifyBackup(ctx context.Context, in *struct {
	Name string `path:"name" maxLength:"100"`
	Body struct {
		Key        string `json:"key,omitempty" maxLength:"10000" doc:"The key of age (AGE-SECRET-KEY-1…) that opens it."`
		Passphrase string `json:"passphrase,omitempty" maxLength:"1000"`
	}
}) (*body[backupReport], error) {
	f, err := s.cfg.Backups.Open(in.Name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	keys, err := backupKeys(in.Body.Key, in.Body.Passphrase)
	if err != nil {
		return nil, &store.QueryError{Message: err.Error()}
	}
	r, err := backup.Read(ctx, f, keys, nil)
	s.act(ctx, "backup.verify", "backup:"+in.Name, strconv.Itoa(r.Files)+" files", err)
	if err != nil {
		return nil, &store.QueryError{Message: err.Error()}
	}
	return &body[backupReport]{Body: backupReport{r.Head.Mode, r.Head.Version, r.Head.Created, r.Files, r.Bytes, r.Encrypted}}, nil
}

func (s *Server) deleteBackup(ctx context.Context, in *backupName) (*struct{}, error) {
	err := s.cfg.Backups.Delete(in.Name)
	s.act(ctx, "backup.delete", "backup:"+in.Name, "", err)
	return nil, err
}

func (s *Server) downloadBackup(ctx context.Context, in *backupName) (*huma.StreamResponse, error) {
	f, err := s.cfg.Backups.Open(in.Name)
	s.act(ctx, "backup.download", "backup:"+in.Name, "", err)
	if err != nil {
		return nil, err
	}
	return &huma.StreamResponse{Body: func(ctx huma.Context) {
		defer f.Close()
		if info, err := f.Stat(); err == nil {
			ctx.SetHeader("Content-Length", strconv.FormatInt(info.Size(), 10))
		}
		ctx.SetHeader("Content-Type", "application/octet-stream")
		ctx.SetHeader("Content-Disposition", `attachment; filename="`+in.Name+`"`)
		ctx.SetStatus(http.StatusOK)
		if _, err := io.Copy(impatient(ctx.BodyWriter()), f); err != nil {
			s.cfg.Log.Debug("a backup was not taken to its end", "error", err)
		}
	}}, nil
}

func backupKeys(key, passphrase string) ([]age.Identity, error) {
	if key == "" {
		return backup.Keys(nil, passphrase)
	}
	return backup.Keys(strings.NewReader(key), passphrase)
}
