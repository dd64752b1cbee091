package config

import "testing"

// FuzzParse has no file bring the reader down, and no value be taken of which something
// is wrong.
func FuzzParse(f *testing.F) {
	for _, text := range []string{"{}", "kafka:\n  brokers: [k1:9093, k2:9093]\n  sasl: PLAIN\n", "log: {level: debug}\n---\n", "a: &b [*b]\n", "? {a: b}\n: c\n",
		"train:\n  ripe: 30d\n  every: 1h\n", "desk:\n  web: \"off\"\n  within: 5m\n", "x: |\n  a\n", "\xff\xfe", "<<: {}\n", "oidc: {role: [a=b]}\n", "history:\n  url: clickhouse://u:p@h/d\n"} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		file := Parse("weir.yaml", data)
		file.Judge(map[string]string{"kafka.tls": "true"}, func(string) bool { return true })
		for _, p := range file.Problems {
			if p.Line < 1 || p.Column < 1 || p.Reason == "" || p.Hint == "" {
				t.Errorf("a problem without place, reason or hint: %+v", p)
			}
		}
		for key, v := range file.Values {
			if v.Setting.Key != key || v.Text() == "" {
				t.Errorf("%s has the value %+v", key, v)
			}
		}
	})
}
