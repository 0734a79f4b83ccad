package pluginhost

import (
	"encoding/json"
	"reflect"

	"github.com/picketwatch/picket/registry"
	"github.com/picketwatch/picket/sdk"
	"github.com/picketwatch/picket/sdk/host"
)

// misnamed notes that a detector wrote a finding in another's name. The finding carries the right one. The name is not told:
// each would be an incident of its own, and names without end would leave no room for what the broker refused.
func (s *supervisor) misnamed() {
	s.incident(IncidentPermission, "findings: it wrote one in another's name, which was replaced by its own")
}

// checkSchema compares the schema that a program shows of its configuration with the one that was signed. What a plugin may
// do follows from the signed one; a program that shows another is not the one that was looked at.
func checkSchema(says host.Description, signed *registry.Descriptor) error {
	if len(signed.ConfigSchema) == 0 {
		return nil
	}
	var want, got any
	if err := json.Unmarshal(signed.ConfigSchema, &want); err != nil {
		return nil //nolint:nilerr // it was checked when it was signed; nobody can compare with it
	}
	if len(says.ConfigSchema) > 0 {
		if err := json.Unmarshal(says.ConfigSchema, &got); err != nil {
			return sdk.Errorf(sdk.Unsupported, "the schema of its configuration: %w", err)
		}
	}
	if !reflect.DeepEqual(want, got) {
		return sdk.Errorf(sdk.Unsupported, "the program shows another schema of its configuration than the one that was signed")
	}
	return nil
}
