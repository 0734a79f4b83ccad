package client

import (
	"context"
	"fmt"
	"slices"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/registry/internal/durable"
	"github.com/picketwatch/picket/registry/internal/tufrules"
)

// NamespaceFile returns the newest file of a namespace, verified and remembered like all metadata, and the ids of the
// keys that sign it. Its author signs the next version on top of it.
func (c *Client) NamespaceFile(ctx context.Context, ns string) (data []byte, keyIDs []string, err error) {
	v, err := c.freshView(ctx)
	if err != nil {
		return nil, nil, refuse(err, "", "")
	}
	s, err := c.namespace(ctx, v, ns)
	if err != nil {
		return nil, nil, refuse(err, "", "")
	}
	if s.failed != nil {
		return nil, nil, refuse(s.failed.err, "", "")
	}
	v.mu.Lock()
	d, _, found := v.delegated(ns)
	v.mu.Unlock()
	if !found {
		return nil, nil, &registry.Refusal{Reason: registry.NotVouched,
			Err: fmt.Errorf("this registry has no namespace %q: claim it first (`picket registry claim`)", ns)}
	}
	role := tufrules.RoleNamespacePrefix + ns
	data, err = durable.ReadFile(c.home("metadata/ns/"+role+".json"), tufrules.MaxSize(role))
	if err != nil {
		return nil, nil, local(err)
	}
	return data, slices.Clone(d.KeyIDs), nil
}
