package lint

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"sigs.k8s.io/yaml"
)

const chart = root + "/deploy/helm/weir"

// valueSets are the examples of values beside the chart.
func valueSets(t *testing.T) []string {
	t.Helper()
	sets, err := filepath.Glob(root + "/deploy/helm/values/*.yaml")
	if err != nil || len(sets) < 5 {
		t.Fatalf("%d sets of values: %v", len(sets), err)
	}
	return sets
}

// TestChart holds the chart to helm, to the schemas of Kubernetes and to weir, with each
// set of values.
func TestChart(t *testing.T) {
	for _, set := range valueSets(t) {
		t.Run(strings.TrimSuffix(filepath.Base(set), ".yaml"), func(t *testing.T) {
			t.Parallel()
			objects, list := chartProblems(t, chart, set)
			for _, p := range list {
				t.Error(p)
			}
			var kinds []string
			for _, o := range objects {
				kinds = append(kinds, o.Kind)
			}
			slices.Sort(kinds)
			t.Logf("%d objects: %s", len(kinds), strings.Join(slices.Compact(kinds), " "))
		})
	}
}

// object is what the tests look at of one of Kubernetes.
type object struct {
	Kind     string
	Metadata struct {
		Name        string
		Annotations map[string]string
	}
	Data map[string]string
	Spec struct {
		Template    *template
		JobTemplate *struct{ Spec struct{ Template *template } }
	}
}

// template is a pod's.
type template struct {
	Spec struct {
		ServiceAccountName           string
		AutomountServiceAccountToken *bool
		SecurityContext              struct {
			RunAsNonRoot   bool
			RunAsUser      int
			SeccompProfile struct{ Type string }
		}
		Containers []container
		Volumes    []volume
	}
}

type container struct {
	Name, Image     string
	Args            []string
	Env             []struct{ Name, Value string }
	Ports           []struct{ Name string }
	LivenessProbe   *struct{}
	ReadinessProbe  *struct{}
	StartupProbe    *struct{}
	Resources       struct{ Limits, Requests map[string]any }
	SecurityContext struct {
		AllowPrivilegeEscalation *bool
		ReadOnlyRootFilesystem   bool
		Capabilities             struct{ Drop []string }
	}
	VolumeMounts []struct{ Name, MountPath, SubPath string }
}

type volume struct {
	Name      string
	ConfigMap *struct{ Name string }
	Secret    *struct {
		SecretName string
		Items      []struct{ Key, Path string }
	}
}

// folders are made once: of schemas, and of secrets.
var (
	schemaFolder = sync.OnceValues(func() (string, error) {
		folder, err := os.MkdirTemp(scratch, "schemas-")
		if err == nil {
			err = schemas(folder)
		}
		return folder, err
	})
	secretFolder = sync.OnceValues(func() (string, error) {
		folder, err := os.MkdirTemp(scratch, "secrets-")
		if err == nil {
			err = makeSecrets(folder)
		}
		return folder, err
	})
)

// chartProblems are what is wrong with a chart and a set of values, and the objects that
// come of them.
func chartProblems(t *testing.T, chart, set string) (objects []object, list []string) {
	t.Helper()
	spec := "--set-file=files.bank\\.spec=" + filepath.Join(t.TempDir(), "bank.spec")
	text, stderr, err := run(nil, "weir", "spec", "show", "payments")
	if err == nil {
		err = os.WriteFile(strings.TrimPrefix(spec, "--set-file=files.bank\\.spec="), []byte(text), 0o600)
	}
	if err != nil {
		t.Fatal(err, stderr)
	}
	if said, stderr, err := run(nil, "helm", "lint", "--strict", "--quiet", chart, "--values", set, spec); err != nil {
		list = append(list, "helm lint: "+said+stderr)
	}
	text, stderr, err = run(nil, "helm", "template", "weir", chart, "--namespace", "bank", "--values", set, spec)
	if err != nil {
		return nil, append(list, "helm template: "+stderr)
	}
	list = append(list, conformity(t, text)...)
	for doc := range strings.SplitSeq("\n"+text, "\n---\n") {
		var o object
		if err := yaml.Unmarshal([]byte(doc), &o); err != nil {
			list = append(list, err.Error())
		} else if o.Kind != "" {
			objects = append(objects, o)
		}
	}
	for _, o := range objects {
		pod := o.Spec.Template
		if o.Spec.JobTemplate != nil {
			pod = o.Spec.JobTemplate.Spec.Template
		}
		if pod != nil {
			list = append(list, pod.problems(t, o.Kind+" "+o.Metadata.Name, objects)...)
			list = append(list, pod.early(o, objects)...)
		}
	}
	return objects, list
}

// conformity is what kubeconform says.
func conformity(t *testing.T, manifests string) (list []string) {
	t.Helper()
	folder, err := schemaFolder()
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "manifests.yaml")
	if err := os.WriteFile(file, []byte(manifests), 0o600); err != nil {
		t.Fatal(err)
	}
	text, stderr, _ := run(nil, "kubeconform", "-strict", "-output", "json", "-summary", "-schema-location", filepath.Join(folder, location), file)
	var report struct {
		Resources []struct{ Kind, Name, Status, Msg string }
		Summary   struct{ Valid, Invalid, Errors, Skipped int }
	}
	if err := json.Unmarshal([]byte(text), &report); err != nil {
		t.Fatalf("kubeconform: %v\n%s%s", err, text, stderr)
	}
	for _, r := range report.Resources {
		list = append(list, fmt.Sprintf("kubeconform: %s %s: %s %s", r.Kind, r.Name, r.Status, r.Msg))
	}
	if s := report.Summary; s.Valid == 0 || s.Skipped > 0 || s.Errors > 0 {
		list = append(list, fmt.Sprintf("kubeconform: %+v", s))
	}
	return list
}

// problems are what is wrong with a pod.
func (p *template) problems(t *testing.T, where string, objects []object) (list []string) {
	t.Helper()
	must := func(ok bool, format string, a ...any) {
		if !ok {
			list = append(list, where+": "+fmt.Sprintf(format, a...))
		}
	}
	s := p.Spec.SecurityContext
	must(s.RunAsNonRoot && s.RunAsUser > 0, "it may run as root")
	must(s.SeccompProfile.Type == "RuntimeDefault", "no seccomp profile")
	must(p.Spec.AutomountServiceAccountToken != nil && !*p.Spec.AutomountServiceAccountToken, "a token of the API is mounted")
	must(len(p.Spec.Containers) == 1, "%d containers", len(p.Spec.Containers))
	for _, c := range p.Spec.Containers {
		must(pinned(c.Image), "image %s is not pinned", c.Image)
		x := c.SecurityContext
		must(x.ReadOnlyRootFilesystem, "its root can be written")
		must(x.AllowPrivilegeEscalation != nil && !*x.AllowPrivilegeEscalation, "privileges may be escalated")
		must(slices.Equal(x.Capabilities.Drop, []string{"ALL"}), "capabilities are not dropped")
		must(c.Resources.Limits["memory"] != nil && c.Resources.Requests["memory"] != nil && c.Resources.Requests["cpu"] != nil, "resources are not said")
		if len(c.Ports) > 0 {
			must(c.LivenessProbe != nil && c.ReadinessProbe != nil && c.StartupProbe != nil, "probes are missing")
		}
		r := &role{where: where, args: c.Args, env: make(map[string]string), local: p.mounts(t, c, objects)}
		for _, e := range c.Env {
			must(r.env[e.Name] == "", "%s is said twice", e.Name)
			r.env[e.Name] = e.Value
		}
		list = append(list, r.problems()...)
	}
	return list
}

// early is what a pod that runs before the release lacks then: all that it needs and the
// chart makes has to be made before it.
func (p *template) early(own object, objects []object) (list []string) {
	weight := func(o object) (weight int, hook bool) {
		hook = o.Metadata.Annotations["helm.sh/hook"] == "pre-install,pre-upgrade"
		weight, err := strconv.Atoi(o.Metadata.Annotations["helm.sh/hook-weight"])
		return weight, hook && err == nil
	}
	at, hook := weight(own)
	if !hook {
		return nil
	}
	needs := map[string]string{"ServiceAccount": p.Spec.ServiceAccountName, "NetworkPolicy": own.Metadata.Name}
	for _, o := range objects {
		needed := needs[o.Kind] == o.Metadata.Name || slices.ContainsFunc(p.Spec.Volumes, func(v volume) bool {
			return o.Kind == "ConfigMap" && v.ConfigMap != nil && v.ConfigMap.Name == o.Metadata.Name
		})
		if before, hook := weight(o); needed && (!hook || before >= at) {
			list = append(list, fmt.Sprintf("%s %s: it runs before %s %s is there", own.Kind, own.Metadata.Name, o.Kind, o.Metadata.Name))
		}
	}
	return list
}

// mounts returns where a file of a container would be here.
func (p *template) mounts(t *testing.T, c container, objects []object) func(string) string {
	t.Helper()
	data := t.TempDir()
	volumes := make(map[string]volume)
	for _, v := range p.Spec.Volumes {
		volumes[v.Name] = v
	}
	return func(path string) string {
		for _, m := range c.VolumeMounts {
			v, inside := volumes[m.Name], strings.TrimPrefix(path, m.MountPath)
			if inside == path || inside != "" && inside[0] != '/' {
				continue
			}
			inside = strings.TrimPrefix(inside, "/")
			switch {
			case v.ConfigMap != nil:
				return configFile(t, objects, v.ConfigMap.Name, m.SubPath, inside)
			case v.Secret != nil:
				for _, i := range v.Secret.Items {
					if i.Path == inside {
						return standIn(t, i.Key)
					}
				}
				return ""
			}
			return filepath.Join(data, inside)
		}
		return ""
	}
}

// configFile writes a file of a config map, with the paths in it as they are here.
func configFile(t *testing.T, objects []object, name, subPath, inside string) string {
	t.Helper()
	for _, o := range objects {
		if o.Kind != "ConfigMap" || o.Metadata.Name != name {
			continue
		}
		text, there := o.Data[subPath+inside]
		if !there {
			return ""
		}
		folder := t.TempDir()
		for _, files := range objects {
			if files.Kind != "ConfigMap" || !strings.HasSuffix(files.Metadata.Name, "-files") {
				continue
			}
			for n, content := range files.Data {
				if err := os.WriteFile(filepath.Join(folder, n), []byte(content), 0o600); err != nil {
					t.Fatal(err)
				}
			}
		}
		file := filepath.Join(folder, "weir.yaml")
		if err := os.WriteFile(file, []byte(strings.ReplaceAll(text, "/etc/weir/files/", folder+"/")), 0o600); err != nil {
			t.Fatal(err)
		}
		return file
	}
	return ""
}

// standIn is a file like the one that a Secret has under a key.
func standIn(t *testing.T, key string) string {
	t.Helper()
	folder, err := secretFolder()
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasSuffix(key, ".password") { // of a role's own user
		key = "password"
	}
	other := map[string]string{
		"token-previous.key": "token-previous.key", "rollback.key": "train.key", "desk.key": "train.key", "password": "clickhouse.password", "secret": "clickhouse.password",
		"ca.pem": "desk.crt", "client.pem": "desk.crt", "client.key": "desk.key", "migrate.pem": "desk.crt", "migrate.key": "desk.key", "headers": "otlp.headers", "tls.crt": "desk.crt", "tls.key": "desk.key",
		"token.key": "token.key", "train.key": "train.key", "models.pem": "models.pem",
	}[key]
	if other == "" {
		t.Fatalf("no Secret is known with the key %s", key)
	}
	return filepath.Join(folder, other)
}

// TestValues holds values.yaml and its schema to one another: helm refuses a value that the
// schema lacks, and here each of the schema's is in values.yaml.
func TestValues(t *testing.T) {
	text, err := os.ReadFile(chart + "/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var values, schema map[string]any
	if err := yaml.Unmarshal(text, &values); err != nil {
		t.Fatal(err)
	}
	described, err := os.ReadFile(chart + "/values.schema.json")
	if err == nil {
		err = json.Unmarshal(described, &schema)
	}
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	var walk func(path string, schema, values map[string]any)
	walk = func(path string, schema, values map[string]any) {
		properties, _ := schema["properties"].(map[string]any)
		for name, p := range properties {
			if path+name == "global" { // helm's own
				continue
			}
			n++
			if _, there := values[name]; !there && !strings.HasSuffix(path, "resources.") {
				t.Errorf("values.yaml lacks %s%s", path, name)
			}
			below, _ := values[name].(map[string]any)
			walk(path+name+".", p.(map[string]any), below)
		}
	}
	walk("", schema, values)
	if n < 80 {
		t.Errorf("the schema has %d values", n)
	}
	if comments := strings.Count(string(text), "# "); comments < 60 {
		t.Errorf("values.yaml has %d lines of words", comments)
	}
}

// TestBuilder has the images built with the Go that go.mod names for releases.
func TestBuilder(t *testing.T) {
	dockerfile, err := os.ReadFile(root + "/deploy/container/Dockerfile")
	if err != nil {
		t.Fatal(err)
	}
	module, err := os.ReadFile(root + "/go.mod")
	if err != nil {
		t.Fatal(err)
	}
	named := regexp.MustCompile(`(?m)^toolchain go(\S+)$`).FindSubmatch(module)
	if named == nil || !strings.Contains(string(dockerfile), "ARG BUILDER=docker.io/library/golang:"+string(named[1])+"-") {
		t.Errorf("the Dockerfile's BUILDER is not the toolchain of go.mod, %s", named)
	}
}
