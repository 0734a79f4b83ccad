package broker

import (
	"os"
	"slices"

	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/abi"
	"github.com/picketwatch/picket/sdk/brokerwire"
)

// capModel stands for models among the uses. It is no permission: what a release requires it may open, and nothing else.
const capModel = "model"

func (s *session) openModel(id string) (ans brokerwire.Answer, f *os.File, begin func(), err error) {
	i := slices.IndexFunc(s.models, func(m Model) bool { return m.ID == id })
	if i < 0 {
		err := sdk.Errorf(sdk.PermissionDenied, "open model %s: the plugin's manifest does not name it under requires", id)
		s.count(target{cap: capModel, host: id}, err)
		return ans, nil, nil, err
	}
	m := s.models[i]
	if f, err = reopen(m.File); err != nil {
		return ans, nil, nil, sdk.Errorf(sdk.Temporary, "open model %s: %w", id, err)
	}
	ans.Model = &abi.ModelInfo{Version: m.Version, Digest: m.Digest}
	return ans, f, nil, nil
}
