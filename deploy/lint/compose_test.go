package lint

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/compose-spec/compose-go/v2/cli"
	"github.com/compose-spec/compose-go/v2/types"
	"sigs.k8s.io/yaml"
)

const composeFile = root + "/deploy/compose/compose.yaml"

// TestScraped holds prometheus.yaml to compose.yaml: every role that serves metrics is
// scraped, and nothing else of ours.
func TestScraped(t *testing.T) {
	text, err := os.ReadFile(root + "/deploy/prometheus/prometheus.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var config struct {
		ScrapeConfigs []struct {
			StaticConfigs []struct{ Targets []string } `json:"static_configs"`
		} `json:"scrape_configs"`
	}
	if err := yaml.Unmarshal(text, &config); err != nil {
		t.Fatal(err)
	}
	var targets, want []string
	for _, s := range config.ScrapeConfigs {
		for _, c := range s.StaticConfigs {
			targets = append(targets, c.Targets...)
		}
	}
	for name, s := range composeProject(t, composeFile).Services {
		if s.Environment["WEIR_METRICS_LISTEN"] != nil {
			want = append(want, name+":9464")
		}
	}
	slices.Sort(targets)
	slices.Sort(want)
	if !slices.Equal(targets, want) {
		t.Errorf("%s are scraped, and %s serve metrics", targets, want)
	}
}

// makeSecrets runs the script that an operator runs, and adds what Compose does without: a
// key of tokens before the one that it made, and headers for a collector.
func makeSecrets(folder string) error {
	if out, err := exec.Command(root+"/deploy/compose/secrets", folder).CombinedOutput(); err != nil {
		return fmt.Errorf("deploy/compose/secrets: %s", out)
	}
	return errors.Join(os.WriteFile(filepath.Join(folder, "token-previous.key"), []byte("k0:"+strings.Repeat("5a", 32)+"\n"), 0o400),
		os.WriteFile(filepath.Join(folder, "otlp.headers"), []byte("Authorization: Bearer planted\n"), 0o400))
}

// TestCompose holds compose.yaml to its parser, to the files beside it and to weir.
func TestCompose(t *testing.T) {
	services, list := composeProblems(t, composeFile)
	for _, p := range list {
		t.Error(p)
	}
	want := []string{"clickhouse", "desk", "grafana", "kafka", "prometheus", "record", "score-1", "score-2", "simulate", "train"}
	if !slices.Equal(services, want) {
		t.Errorf("the services are %s, not %s", services, want)
	}
}

// composeProject reads a file of Compose that is right.
func composeProject(t *testing.T, file string) *types.Project {
	t.Helper()
	project, err := loadCompose(t, file)
	if err != nil {
		t.Fatal(err)
	}
	return project
}

// loadCompose reads a file of Compose, with all profiles and with secrets that are there.
func loadCompose(t *testing.T, file string) (*types.Project, error) {
	t.Helper()
	secrets, err := secretFolder()
	if err != nil {
		t.Fatal(err)
	}
	options, err := cli.NewProjectOptions([]string{file}, cli.WithEnv([]string{"WEIR_SECRETS=" + secrets}), cli.WithProfiles([]string{"*"}), cli.WithConsistency(true))
	if err != nil {
		t.Fatal(err)
	}
	return options.LoadProject(context.Background())
}

// composeProblems are what is wrong with a file of Compose, and the services that it has.
func composeProblems(t *testing.T, file string) (services, list []string) {
	t.Helper()
	project, err := loadCompose(t, file)
	if err != nil {
		return nil, []string{"compose: " + err.Error()}
	}
	for name, s := range project.Services {
		services = append(services, name)
		for _, p := range serviceProblems(project, s) {
			list = append(list, name+": "+p)
		}
		if strings.HasPrefix(s.Image, "weir:") {
			list = append(list, weirProblems(t, project, s)...)
		}
	}
	for name, s := range project.Secrets {
		if _, err := os.Stat(s.File); err != nil {
			list = append(list, fmt.Sprintf("secret %s: deploy/compose/secrets does not make %s", name, s.File))
		}
	}
	slices.Sort(services)
	slices.Sort(list)
	return services, list
}

// version is a tag that names one.
var version = regexp.MustCompile(`^v?[0-9]+\.[0-9]+(\.[0-9]+)?(-[a-z0-9.]+)?$`)

// pinned reports whether an image is named by a version, or by its content.
func pinned(image string) bool {
	if name, digest, ok := strings.Cut(image, "@"); ok {
		return name != "" && regexp.MustCompile(`^sha256:[0-9a-f]{64}$`).MatchString(digest)
	}
	colon := strings.LastIndexByte(image, ':')
	return colon > strings.LastIndexByte(image, '/') && version.MatchString(image[colon+1:])
}

// serviceProblems are what is wrong with any service.
func serviceProblems(project *types.Project, s types.ServiceConfig) (list []string) {
	say := func(format string, a ...any) { list = append(list, fmt.Sprintf(format, a...)) }
	if !pinned(s.Image) {
		say("image %s is not pinned", s.Image)
	}
	if s.Build != nil {
		if _, err := os.Stat(filepath.Join(s.Build.Context, s.Build.Dockerfile)); err != nil {
			say("its Dockerfile: %v", err)
		}
	}
	oneOff := slices.Contains(s.Profiles, "simulate")
	if s.HealthCheck == nil || len(s.HealthCheck.Test) < 2 && !oneOff {
		say("no health check")
	}
	if s.Restart != "unless-stopped" && !oneOff {
		say("it is restarted %q", s.Restart)
	}
	for _, v := range s.Volumes {
		if v.Type != types.VolumeTypeBind {
			continue
		}
		if _, err := os.Stat(v.Source); err != nil {
			say("what it mounts is not there: %v", err)
		}
		if !v.ReadOnly {
			say("%s can be written", v.Source)
		}
	}
	for name, d := range s.DependsOn {
		after := project.Services[name]
		if d.Condition == types.ServiceConditionHealthy && (after.HealthCheck == nil || after.HealthCheck.Disable) {
			say("it waits for the health of %s, which has no check", name)
		}
	}
	for _, p := range s.Ports {
		if ip := net.ParseIP(p.HostIP); ip == nil || !ip.IsLoopback() {
			say("port %s can be reached from other machines", p.Published)
		}
	}
	for name, value := range s.Environment {
		if property, ok := strings.CutPrefix(name, "KAFKA_"); ok && !brokerTakes(strings.ToLower(strings.ReplaceAll(property, "_", "."))) {
			say("%s is no setting that deploy/kafka/kafka starts a broker with", name)
		}
		if value == nil {
			say("%s is taken from whoever starts it", name)
		} else if strings.Contains(strings.ToLower(name), "password") && !strings.HasPrefix(*value, "/run/secrets/") {
			say("%s is a secret in the file", name)
		}
	}
	return list
}

// brokerTakes reports whether the broker of the integration tests is started with a setting:
// what is in Compose's Kafka was tried there.
func brokerTakes(property string) bool {
	text, err := os.ReadFile(root + "/deploy/kafka/kafka")
	return err == nil && strings.Contains(string(text), "\n"+property+"=")
}

// weirProblems are what is wrong with a service of weir's.
func weirProblems(t *testing.T, project *types.Project, s types.ServiceConfig) (list []string) {
	t.Helper()
	must := func(ok bool, text string) {
		if !ok {
			list = append(list, s.Name+": "+text)
		}
	}
	user, _, _ := strings.Cut(s.User, ":")
	must(user != "" && user != "0" && user != "root", "it may run as root")
	must(s.ReadOnly, "its root can be written")
	must(slices.Equal(s.CapDrop, []string{"ALL"}), "capabilities are not dropped")
	must(slices.Contains(s.SecurityOpt, "no-new-privileges:true"), "privileges may be gained")
	r := &role{where: s.Name, args: s.Command, env: make(map[string]string), local: serviceFile(t, project, s)}
	for name, value := range s.Environment {
		if value != nil {
			r.env[name] = *value
		}
	}
	return append(list, r.problems()...)
}

// serviceFile returns where a file of a service's container is here.
func serviceFile(t *testing.T, project *types.Project, s types.ServiceConfig) func(string) string {
	t.Helper()
	data := t.TempDir()
	return func(path string) string {
		for _, secret := range s.Secrets {
			if path == "/run/secrets/"+secret.Source {
				return project.Secrets[secret.Source].File
			}
		}
		for _, v := range s.Volumes {
			if path == v.Target || strings.HasPrefix(path, v.Target+"/") {
				return filepath.Join(data, filepath.Base(path))
			}
		}
		return ""
	}
}
