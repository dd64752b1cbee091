package lint

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// A mistake is planted in a copy by putting one text in the place of another, and found
// where something says the words.
type mistake struct{ name, file, old, new, words string }

// plant makes the mistake in the copy of a file.
func (m *mistake) plant(t *testing.T, file string) {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(text), m.old) {
		t.Fatalf("%s has no %q: plant another mistake", file, m.old)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(text), m.old, m.new, 1)), 0o600); err != nil {
		t.Fatal(err)
	}
}

// copied is a folder like deploy, with one of its folders copied and the others as they are.
func copied(t *testing.T, folder string) string {
	t.Helper()
	deploy := filepath.Join(t.TempDir(), "deploy")
	beside, err := filepath.Abs(root + "/deploy")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(filepath.Join(deploy, folder), os.DirFS(filepath.Join(beside, folder))); err != nil {
		t.Fatal(err)
	}
	entries, err := os.ReadDir(beside)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if e.Name() == folder {
			continue
		}
		if err := os.Symlink(filepath.Join(beside, e.Name()), filepath.Join(deploy, e.Name())); err != nil {
			t.Fatal(err)
		}
	}
	return deploy
}

// found wants the mistake among what is wrong.
func (m *mistake) found(t *testing.T, list []string) {
	t.Helper()
	all := strings.Join(list, "\n")
	if !strings.Contains(all, m.words) {
		t.Errorf("%q is not said, but:\n%s", m.words, all)
	}
	for _, p := range list {
		if strings.Contains(p, m.words) {
			t.Log(strings.TrimSpace(p))
			break
		}
	}
}

var composeMistakes = []mistake{
	{name: "image of any version", old: "apache/kafka:4.4.0", new: "apache/kafka:latest", words: "image apache/kafka:latest is not pinned"},
	{name: "image without a tag", old: "clickhouse-server:26.9", new: "clickhouse-server", words: "is not pinned"},
	{name: "missing Dockerfile", old: "container/Dockerfile", new: "container/Containerfile", words: "its Dockerfile"},
	{name: "missing file", old: "../prometheus/rules.yaml", new: "../prometheus/rule.yaml", words: "what it mounts is not there"},
	{name: "file that can be written", old: "rules.yaml:ro", new: "rules.yaml", words: "can be written"},
	{name: "missing secret", old: "/token.key\"}", new: "/tokens.key\"}", words: "does not make"},
	{name: "secret that is not mounted", old: "secrets: [token.key, models.pem]", new: "secrets: [models.pem]", words: "WEIR_KEYS_TOKEN_FILE=/run/secrets/token.key is not mounted"},
	{name: "unknown variable", old: "WEIR_KAFKA_BROKERS", new: "WEIR_KAFKA_BROKER", words: "weir knows no variable WEIR_KAFKA_BROKER"},
	{name: "variable of another role", old: "command: [record]", new: "command: [migrate]", words: "weir migrate does not take"},
	{name: "unknown flag", old: "train, --every", new: "train, --each", words: "weir train --each"},
	{name: "unknown command", old: "command: [desk]", new: "command: [desks]", words: "there is no command"},
	{name: "value that weir refuses", old: "WEIR_LOG_FORMAT: json", new: "WEIR_LOG_FORMAT: xml", words: "none of the words that it takes"},
	{name: "unknown field", old: "stop_grace_period", new: "stop_period", words: "compose:"},
	{name: "dependency on nothing", old: "kafka: {condition: service_healthy}", new: "kafka-1: {condition: service_healthy}", words: "compose:"},
	{name: "dependency on a health that is not asked", old: "score-1: {condition: service_healthy}", new: "grounds: {condition: service_healthy}", words: "compose:"},
	{name: "no health check", old: "test: [CMD, wget, --quiet, --spider, \"http://127.0.0.1:8123/ping\"]", new: "disable: true", words: "waits for the health of clickhouse, which has no check"},
	{name: "unknown setting of Kafka", old: "KAFKA_LOG_DIRS", new: "KAFKA_LOG_DIR", words: "KAFKA_LOG_DIR is no setting"},
	{name: "no restart", old: "restart: unless-stopped", new: "restart: \"no\"", words: "it is restarted"},
	{name: "port for everybody", old: "127.0.0.1:8464:8464", new: "8464:8464", words: "port 8464 can be reached from other machines"},
	{name: "root user", old: "user: \"65532:65532\"", new: "user: \"0:0\"", words: "it may run as root"},
	{name: "root that can be written", old: "read_only: true", new: "read_only: false", words: "its root can be written"},
	{name: "capabilities", old: "cap_drop: [ALL]", new: "cap_add: [NET_ADMIN]", words: "capabilities are not dropped"},
	{name: "secret in the file", old: "CLICKHOUSE_PASSWORD_FILE: /run/secrets/clickhouse.password", new: "CLICKHOUSE_PASSWORD: hunter2", words: "CLICKHOUSE_PASSWORD is a secret in the file"},
}

// TestPlantedCompose plants mistakes in compose.yaml.
func TestPlantedCompose(t *testing.T) {
	for _, m := range composeMistakes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			deploy := copied(t, "compose")
			file := filepath.Join(deploy, "compose", "compose.yaml")
			m.plant(t, file)
			_, list := composeProblems(t, file)
			m.found(t, list)
		})
	}
}

const (
	pod   = "weir/templates/_helpers.tpl"
	grand = "values/production.yaml"
)

var chartMistakes = []mistake{
	{name: "wrong type", file: grand, old: "replicas: 3", new: "replicas: three", words: "got string, want integer"},
	{name: "unknown value", file: grand, old: "topologyKey", new: "topologyKeys", words: "additional properties 'topologyKeys' not allowed"},
	{name: "value out of range", file: grand, old: "replicas: 3", new: "replicas: 0", words: "minimum: got 0, want 1"},
	{name: "image of any version", file: grand, old: "digest: sha256", new: "tag: latest\n  gpuDigest: sha256", words: "at '/image/tag'"},
	{name: "no brokers", file: grand, old: "brokers: [", new: "others: [", words: "config.kafka.brokers names Kafka's brokers"},
	{name: "no history", file: grand, old: "url: \"clickhouse", new: "uri: \"clickhouse", words: "record.enabled needs a history"},
	{name: "no certificate", file: grand, old: "    tlsSecret: desk-tls\n", new: "", words: "desk.ingress.tlsSecret names the certificate"},
	{name: "unknown setting", file: grand, old: "sasl: SCRAM", new: "sasel: SCRAM", words: "kafka.sasel"},
	{name: "setting that weir refuses", file: grand, old: "SCRAM-SHA-512", new: "SCRAM-SHA-1", words: "SCRAM-SHA-1"},
	{name: "setting that lacks another", file: grand, old: "{user: weir-score}", new: "{}", words: "kafka.user"},
	{name: "broken template", file: "weir/templates/desk.yaml", old: "{{- end }}", new: "", words: "helm template:"},
	{name: "value that is not there", file: "weir/templates/score.yaml", old: ".Values.score.replicas", new: ".Values.scores.replicas", words: "nil pointer"},
	{name: "bad field", file: pod, old: "readOnlyRootFilesystem", new: "readOnlyRootFileSystem", words: "additional properties 'readOnlyRootFileSystem' not allowed"},
	{name: "field of the wrong type", file: "weir/templates/score.yaml", old: "replicas: {{ .Values.score.replicas }}", new: "replicas: {{ .Values.score.replicas | quote }}", words: "got string, want integer"},
	{name: "field that is missing", file: "weir/templates/desk.yaml", old: "  serviceName: {{ include \"weir.name\" . }}-desk\n  selector:\n    matchLabels:\n      {{- include \"weir.selector\" . | nindent 6 }}\n      app.kubernetes.io/component: desk\n", new: "", words: "missing propert"},
	{name: "unknown version of the API", file: "weir/templates/train.yaml", old: "batch/v1", new: "batch/v1beta1", words: "could not find schema for CronJob"},
	{name: "bad field of a monitor", file: "weir/templates/monitoring.yaml", old: "relabelings:", new: "relabels:", words: "additional properties 'relabels' not allowed"},
	{name: "bad field of a rule", file: "weir/templates/monitoring.yaml", old: "replace \"runbook_url: deploy/\"", new: "replace \"expr:\" \"expression:\" | replace \"runbook_url: deploy/\"", words: "additional properties 'expression' not allowed"},
	{name: "may be root", file: pod, old: "runAsNonRoot: true", new: "runAsNonRoot: false", words: "it may run as root"},
	{name: "root user", file: pod, old: "runAsUser: 65532", new: "runAsUser: 0", words: "it may run as root"},
	{name: "root that can be written", file: pod, old: "readOnlyRootFilesystem: true", new: "readOnlyRootFilesystem: false", words: "its root can be written"},
	{name: "capabilities", file: pod, old: "capabilities: {drop: [ALL]}", new: "capabilities: {drop: [NET_RAW]}", words: "capabilities are not dropped"},
	{name: "escalation", file: pod, old: "allowPrivilegeEscalation: false", new: "allowPrivilegeEscalation: true", words: "privileges may be escalated"},
	{name: "no seccomp", file: pod, old: "type: RuntimeDefault", new: "type: Unconfined", words: "no seccomp profile"},
	{name: "token of the API", file: pod, old: "automountServiceAccountToken: false", new: "automountServiceAccountToken: true", words: "a token of the API is mounted"},
	{name: "unpinned image", file: pod, old: "image: {{ include \"weir.image\" (list $root .gpu) | quote }}", new: "image: weir", words: "image weir is not pinned"},
	{name: "unknown variable", file: pod, old: "name: WEIR_DATA,", new: "name: WEIR_DATA_FOLDER,", words: "weir knows no variable WEIR_DATA_FOLDER"},
	{name: "variable of another role", file: pod, old: "WEIR_TRAIN_JOURNAL", new: "WEIR_DESK_WEB", words: "weir train does not take WEIR_DESK_WEB"},
	{name: "unknown flag", file: pod, old: "--config, /etc", new: "--configuration, /etc", words: "weir score --configuration"},
	{name: "secret that is not mounted", file: pod, old: "path: {{ $file }}}", new: "path: the-{{ $file }}}", words: "/keys/token.key is not mounted"},
	{name: "migration as any user", file: grand, old: "user: weir-migrate, ", new: "", words: "kafka.user"},
	{name: "setting of another role", file: grand, old: "    history: {url: \"clickhouse://weir_migrate", new: "    desk: {within: 5m}\n    history: {url: \"clickhouse://weir_migrate", words: "invalid propertyName 'desk'"},
	{name: "settings that come too late", file: "weir/templates/migrate.yaml", old: "{{- include \"weir.before\" -5 | nindent 4 }}\ndata:", new: "{}\ndata:", words: "Job weir-migrate: it runs before ConfigMap weir-migrate is there"},
	{name: "account that comes too late", file: pod, old: "{{ include \"weir.name\" $root }}-migrate\n", new: "{{ include \"weir.name\" $root }}\n", words: "Job weir-migrate: it runs before ServiceAccount weir is there"},
	{name: "wall that falls too late", file: "weir/templates/network.yaml", old: "\"weir.before\" -5", new: "\"weir.before\" 5", words: "Job weir-migrate: it runs before NetworkPolicy weir-migrate is there"},
	{name: "job that serves", file: pod, old: "(list \"train\" \"migrate\")", new: "(list \"train\")", words: "weir migrate does not take WEIR_METRICS_LISTEN"},
	{name: "headers of a trainer", file: pod, old: "(include \"weir.serves\" $role) (dig \"otlp\"", new: "(ne $role \"score\") (dig \"otlp\"", words: "weir train does not take WEIR_OTLP_HEADERS_FILE"},
	{name: "no probe", file: pod, old: "readinessProbe:", new: "x-readinessProbe:", words: "probes are missing"},
}

// TestPlantedChart plants mistakes in the chart and its values.
func TestPlantedChart(t *testing.T) {
	for _, m := range chartMistakes {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			folder := filepath.Join(copied(t, "helm"), "helm")
			m.plant(t, filepath.Join(folder, m.file))
			_, list := chartProblems(t, filepath.Join(folder, "weir"), filepath.Join(folder, grand))
			m.found(t, list)
		})
	}
}
