package provider

import (
	"encoding/json"
	"slices"
	"sync"

	"github.com/pulumi/pulumi/sdk/v3/go/common/resource/urn"
	"github.com/pulumi/pulumi/sdk/v3/go/property"
)

// properties are those of the schema that decide where an output may stand.
type properties map[string]propertyType

type propertyType struct {
	Plain bool          `json:"plain"`
	Ref   string        `json:"$ref"`
	Items *propertyType `json:"items"`
}

// types has the properties of the schema's components and types, each by the
// reference to it.
var types = sync.OnceValues(func() (map[string]properties, error) {
	var schema struct {
		Resources map[string]struct {
			InputProperties properties `json:"inputProperties"`
		} `json:"resources"`
		Types map[string]struct {
			Properties properties `json:"properties"`
		} `json:"types"`
	}
	if err := json.Unmarshal(schemaJSON, &schema); err != nil {
		return nil, err
	}
	all := map[string]properties{}
	for token, r := range schema.Resources {
		all[resourceRef(token)] = r.InputProperties
	}
	for token, t := range schema.Types {
		all["#/types/"+token] = t.Properties
	}
	return all, nil
})

func resourceRef(token string) string { return "#/resources/" + token }

// spread returns the inputs of a component with their dependencies where outputs may
// stand. The SDK for Java sends what an argument depends on beside the argument as a
// whole, and the Go SDK refuses an object or a list as an output that a component
// takes as a plain value: then the outputs among its members get the dependencies.
func spread(token string, inputs property.Map) (property.Map, error) {
	all, err := types()
	if err != nil {
		return inputs, err
	}
	return members(all, all[resourceRef(token)], inputs, nil), nil
}

func members(all map[string]properties, of properties, m property.Map, dependencies []urn.URN) property.Map {
	out := m.AsMap()
	for name, v := range out {
		out[name] = member(all, of[name], v, dependencies)
	}
	return property.NewMap(out)
}

func member(all map[string]properties, typ propertyType, v property.Value, dependencies []urn.URN) property.Value {
	dependencies = append(slices.Clone(dependencies), v.Dependencies()...)
	switch {
	case !typ.Plain:
		return v.WithDependencies(dependencies)
	case v.IsMap() && all[typ.Ref] != nil:
		return property.WithGoValue(v, members(all, all[typ.Ref], v.AsMap(), dependencies)).WithDependencies(nil)
	case v.IsArray() && typ.Items != nil:
		items := v.AsArray().AsSlice()
		for i, item := range items {
			items[i] = member(all, *typ.Items, item, dependencies)
		}
		return property.WithGoValue(v, property.NewArray(items)).WithDependencies(nil)
	}
	return v
}
