package gatecheck_test

import (
	"github.com/picketwatch/picket/cmd/picket/internal/gatecheck"
	"github.com/picketwatch/picket/cmd/picket/internal/plugincmd"
)

func init() { gatecheck.Confine(plugincmd.New) }
