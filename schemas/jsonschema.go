package schemas

import "embed"

//go:embed *.schema.json
var schemaFiles embed.FS

// JSONSchema returns the published JSON Schema (draft 2020-12) of what a topic
// holds: "alert", "audit", "disposition", "label", "rate" or "slot"; false for another
// name.
func JSONSchema(name string) ([]byte, bool) {
	text, err := schemaFiles.ReadFile(name + ".schema.json")
	return text, err == nil
}
