package lint

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"sigs.k8s.io/yaml"
)

// schemas writes the JSON Schemas of every kind of the API of Kubernetes, and of the custom
// resources of Prometheus' operator, into a folder, as kubeconform looks for them. They are
// strict: a field that is not described is wrong.
func schemas(folder string) error {
	text, err := os.ReadFile(os.Getenv("WEIR_KUBERNETES"))
	if err != nil {
		return err
	}
	var api struct{ Definitions map[string]map[string]any }
	if err := json.Unmarshal(text, &api); err != nil {
		return err
	}
	kinds := 0
	for name, d := range api.Definitions {
		strict(d)
		switch {
		case strings.HasSuffix(name, ".intstr.IntOrString"), strings.HasSuffix(name, ".resource.Quantity"):
			delete(d, "type")
			d["oneOf"] = []any{map[string]any{"type": "string"}, map[string]any{"type": "number"}}
		}
	}
	for name, d := range api.Definitions {
		list, _ := d["x-kubernetes-group-version-kind"].([]any)
		for _, x := range list {
			k := x.(map[string]any)
			group, _ := k["group"].(string)
			used := make(map[string]any)
			closure(api.Definitions, name, used)
			if err := writeSchema(folder, group, k["version"].(string), k["kind"].(string), map[string]any{"$ref": "#/definitions/" + name, "definitions": used}); err != nil {
				return err
			}
			kinds++
		}
	}
	if kinds < 100 {
		return fmt.Errorf("%s describes %d kinds", os.Getenv("WEIR_KUBERNETES"), kinds)
	}
	return custom(folder)
}

// custom writes the schemas of custom resources.
func custom(folder string) error {
	files, err := filepath.Glob(filepath.Join(os.Getenv("WEIR_OPERATOR"), "*.yaml"))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("no custom resources: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		var crd struct {
			Spec struct {
				Group    string
				Names    struct{ Kind string }
				Versions []struct {
					Name   string
					Schema struct {
						OpenAPI map[string]any `json:"openAPIV3Schema"`
					}
				}
			}
		}
		if err := yaml.Unmarshal(text, &crd); err != nil {
			return fmt.Errorf("%s: %w", file, err)
		}
		for _, v := range crd.Spec.Versions {
			strict(v.Schema.OpenAPI)
			// What every object has is described elsewhere.
			v.Schema.OpenAPI["properties"].(map[string]any)["metadata"] = map[string]any{"type": "object"}
			if err := writeSchema(folder, crd.Spec.Group, v.Name, crd.Spec.Names.Kind, v.Schema.OpenAPI); err != nil {
				return err
			}
		}
	}
	return nil
}

// strict refuses what is not described, wherever something is.
func strict(node any) {
	switch x := node.(type) {
	case map[string]any:
		if _, described := x["properties"].(map[string]any); described && x["additionalProperties"] == nil && x["x-kubernetes-preserve-unknown-fields"] == nil {
			x["additionalProperties"] = false
		}
		for _, v := range x {
			strict(v)
		}
	case []any:
		for _, v := range x {
			strict(v)
		}
	}
}

// closure collects a definition and all that it leads to.
func closure(all map[string]map[string]any, name string, used map[string]any) {
	if used[name] != nil || all[name] == nil {
		return
	}
	used[name] = all[name]
	var walk func(any)
	walk = func(node any) {
		switch x := node.(type) {
		case map[string]any:
			if to, ok := x["$ref"].(string); ok {
				closure(all, strings.TrimPrefix(to, "#/definitions/"), used)
			}
			for _, v := range x {
				walk(v)
			}
		case []any:
			for _, v := range x {
				walk(v)
			}
		}
	}
	walk(all[name])
}

// location is where kubeconform finds a schema in a folder.
const location = "{{ .ResourceKind }}{{ .KindSuffix }}.json"

func writeSchema(folder, group, version, kind string, schema map[string]any) error {
	suffix := "-" + version
	if group != "" {
		short, _, _ := strings.Cut(group, ".")
		suffix = "-" + short + "-" + version
	}
	text, err := json.Marshal(schema)
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(folder, strings.ToLower(kind)+strings.ToLower(suffix)+".json"), text, 0o600)
}
