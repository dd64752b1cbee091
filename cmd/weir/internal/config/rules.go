package config

import (
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"
)

// judging is a look at what the values mean together.
type judging struct {
	*File
	outside map[string]string
	takes   func(key string) bool
}

// Judge adds to the problems what contradicts what, and what lacks something else.
// Outside is what flags and variables say, by key; they go before the file. Nothing is
// said of a key that only they give, of one that they put out of force, and of one that
// the role does not take: brokers may be named by a flag that another role has.
func (f *File) Judge(outside map[string]string, takes func(key string) bool) {
	j := &judging{f, outside, takes}
	for _, look := range []func(){j.kafka, j.registry, j.keys, j.desk, j.login, j.history, j.train, j.traces, j.listeners} {
		look()
	}
	f.sort()
}

// Refuse notes that a flag did not take a value.
func (f *File) Refuse(v *Value, err error) {
	f.problem(v.Place, v.Setting.Key, v.Setting.Key+": "+err.Error(), "weir config explain "+v.Setting.Key+" says what it takes")
	f.sort()
}

// get returns a value as it counts, "" where there is none or a wrong one.
func (j *judging) get(key string) string {
	if text := j.outside[key]; text != "" {
		return text
	}
	if v := j.Values[key]; v != nil {
		return v.Text()
	}
	return ""
}

// has reports whether somebody says something of a key, be it right or wrong.
func (j *judging) has(key string) bool {
	_, here := j.places[key]
	return here || j.outside[key] != ""
}

func (j *judging) on(key string) bool { return j.get(key) == "true" }

// wrong notes a problem of a key if the file is what gives it.
func (j *judging) wrong(key, reason, hint string) {
	if v := j.Values[key]; v != nil && j.outside[key] == "" && j.takes(key) {
		j.problem(v.Place, key, reason, hint)
	}
}

// needs says that a key means nothing without another.
func (j *judging) needs(key, other, why string) {
	if j.has(key) && !j.has(other) {
		j.wrong(key, key+" is set and "+other+" is not", why)
	}
}

func (j *judging) kafka() {
	j.needs("kafka.user", "kafka.sasl", "kafka.sasl says how the user logs in: SCRAM-SHA-512 is a good choice")
	j.needs("kafka.sasl", "kafka.user", "kafka.user says who logs in")
	j.needs("kafka.cert", "kafka.key", "a certificate and its key are given together")
	j.needs("kafka.key", "kafka.cert", "a key and its certificate are given together")
	if j.has("kafka.user") && !j.has("kafka.password-file") {
		j.wrong("kafka.user", "the user has no password", "kafka.password-file names the file of it, or the variable WEIR_KAFKA_PASSWORD holds it")
	} else {
		j.needs("kafka.password-file", "kafka.user", "kafka.user says whose password it is")
	}
	secure := j.on("kafka.tls") || j.has("kafka.ca") || j.has("kafka.cert")
	if j.get("kafka.tls") == "false" && secure {
		j.wrong("kafka.tls", "kafka.tls is false, and certificates for TLS are named", "write true, or take kafka.ca and kafka.cert out")
	}
	if j.get("kafka.sasl") == "PLAIN" && !secure {
		j.wrong("kafka.sasl", "PLAIN without TLS sends the password as it is", "kafka.tls: true, or SCRAM-SHA-512")
	}
	if j.has("kafka.brokers") {
		for _, key := range []string{"broker.listen", "broker.sync-writes"} {
			j.wrong(key, key+" is of the broker inside weir, and kafka.brokers names others", "take one of the two out")
		}
	} else {
		for _, key := range []string{"kafka.tls", "kafka.ca", "kafka.cert", "kafka.sasl"} {
			if j.get(key) != "false" {
				j.needs(key, "kafka.brokers", "the broker inside weir has no TLS and no users: kafka.brokers names Kafka's")
			}
		}
	}
}

func (j *judging) registry() {
	format := j.get("source.format")
	if format == "avro" || format == "protobuf" {
		j.needs("source.format", "schema-registry.url", "records of "+format+" are read by its schemas")
	} else if j.has("schema-registry.url") && (format != "" || !j.has("source.format")) {
		j.wrong("schema-registry.url", "a schema registry is of no use with JSON", "source.format: avro or protobuf, or take the registry out")
	}
	j.needs("schema-registry.user", "schema-registry.url", "schema-registry.url says at which registry")
	if j.has("schema-registry.user") && !j.has("schema-registry.password-file") {
		j.wrong("schema-registry.user", "the registry's user has no password", "schema-registry.password-file names the file of it, or the variable WEIR_SCHEMA_REGISTRY_PASSWORD holds it")
	} else {
		j.needs("schema-registry.password-file", "schema-registry.user", "schema-registry.user says whose password it is")
	}
	if url := j.get("schema-registry.url"); url != "" && !strings.Contains(url, "https://") {
		j.wrong("schema-registry.ca", "schema-registry.ca is of TLS, and no address of the registry begins with https://", "schema-registry.url: https://HOST:PORT")
	}
}

func (j *judging) keys() {
	if j.get("device.arithmetic") == "float16" && j.get("device.name") == "cpu" {
		j.wrong("device.arithmetic", "float16 is a GPU's, and device.name is cpu", "device.name: cuda, or float32")
	}
	if now, before := j.get("keys.token-file"), j.get("keys.token-previous-file"); before != "" && now == before {
		j.wrong("keys.token-previous-file", "the key of tokens and the one before it are the same file", "take keys.token-previous-file out, unless the key has changed")
	}
	if j.get("score.watch") != "" && zero(j.get("score.watch")) {
		j.wrong("keys.rollback-file", "a roll-back is signed after a champion was watched, and score.watch is 0", "score.watch: 24h, or take keys.rollback-file out")
	}
	for _, key := range []string{"keys.train-file", "keys.desk-file", "keys.rollback-file"} {
		if strings.HasSuffix(j.get(key), ".pub") {
			j.wrong(key, key+" is to sign, and .pub is the ending of a public key", "name the private key; keys.trust-file names public ones")
		}
	}
}

func zero(span string) bool {
	d, err := time.ParseDuration(span)
	return err == nil && d == 0
}

func (j *judging) desk() {
	j.needs("metrics.tls-cert", "metrics.tls-key", "a certificate and its key are given together")
	j.needs("metrics.tls-key", "metrics.tls-cert", "a key and its certificate are given together")
	j.needs("desk.tls-cert", "desk.tls-key", "a certificate and its key are given together")
	j.needs("desk.tls-key", "desk.tls-cert", "a key and its certificate are given together")
	web := j.get("desk.web")
	if web != "" && web != "off" && !local(web) && !j.has("desk.tls-cert") && !j.on("desk.behind-tls") {
		j.wrong("desk.web", web+" can be reached from other machines, and passwords would cross the network in clear", "desk.tls-cert and desk.tls-key, or desk.behind-tls: true where a proxy in front speaks TLS")
	}
	if broker := j.get("broker.listen"); broker != "" && !local(broker) {
		j.wrong("broker.listen", broker+" can be reached from other machines, and the broker inside weir asks nobody who they are", "127.0.0.1:PORT, or kafka.brokers for a Kafka with users; who means it says so by --broker")
	}
	if pprof := j.get("metrics.pprof"); pprof != "" && !local(pprof) {
		j.wrong("metrics.pprof", pprof+" can be reached from other machines, and profiles show what is in memory", "127.0.0.1:PORT")
	}
	if cert := j.get("desk.tls-cert"); cert != "" && cert == j.get("desk.tls-key") {
		j.wrong("desk.tls-key", "certificate and key of the desk are the same file", "the key is a secret and has a file of its own")
	}
}

// local reports whether an address is of this machine alone.
func local(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err != nil || host == "localhost" || ip != nil && ip.IsLoopback()
}

func (j *judging) login() {
	for _, key := range []string{"oidc.client-id", "oidc.client-secret-file", "oidc.role", "oidc.scopes", "oidc.roles-claim"} {
		j.needs(key, "oidc.issuer", "oidc.issuer says at which provider people log in")
	}
	j.needs("oidc.issuer", "oidc.client-id", "the provider gives the desk an ID when it is registered there")
	if j.has("oidc.issuer") && j.has("oidc.client-id") && !j.has("oidc.role") {
		j.wrong("oidc.issuer", "nobody of the provider may do anything", "oidc.role says which group has which role: fraud-analysts=analyst")
	}
	if j.has("oidc.issuer") && !j.has("desk.public-url") {
		j.wrong("oidc.client-id", "the provider does not know where to send people back to", "desk.public-url is where browsers reach the desk")
	}
	for _, key := range []string{"oidc.issuer", "desk.public-url"} {
		if url := j.get(key); strings.HasPrefix(url, "http://") && !localURL(url) {
			j.wrong(key, key+" is without TLS, and sessions would cross the network in clear", "https://")
		}
	}
	if j.get("desk.local-login") == "false" {
		j.needs("desk.local-login", "oidc.issuer", "nobody could log in: say who may by password, or at which provider")
	}
}

// localURL reports whether a URL of http is of this machine.
func localURL(url string) bool {
	host, _, _ := strings.Cut(strings.TrimPrefix(url, "http://"), "/")
	if !strings.Contains(host, ":") {
		host += ":80"
	}
	return local(host)
}

func (j *judging) history() {
	url := j.get("history.url")
	if url != "" && !strings.HasPrefix(url, "clickhouse://") || !j.has("history.url") {
		for _, key := range []string{"history.password-file", "history.ca"} {
			j.wrong(key, key+" is of ClickHouse, and the history is in a file", "history.url: clickhouse://USER@HOST:PORT/DATABASE")
		}
	} else if j.has("history.ca") && !strings.Contains(url, "secure=true") {
		j.wrong("history.ca", "history.ca is of TLS, and history.url does not ask for it", "?secure=true at the URL's end")
	}
}

func (j *judging) train() {
	capacity := ""
	for _, key := range []string{"train.review-cards-per-day", "train.review-per-day", "train.review-share"} {
		if j.get(key) != "" && j.get(key) != "0" {
			if capacity != "" {
				j.wrong(key, key+" and "+capacity+" both say what the desk can review", "keep one")
			}
			capacity = key
		}
	}
	fit, _ := strconv.ParseFloat(j.get("train.fit-share"), 64)
	calibrate, _ := strconv.ParseFloat(j.get("train.calibrate-share"), 64)
	if fit+calibrate >= 1 {
		j.wrong("train.calibrate-share", "train.fit-share and train.calibrate-share leave nothing to be held out", "together they are less than 1")
	}
	if j.get("train.family") == "logistic" {
		for _, key := range []string{"train.trials", "train.epochs", "train.warm"} {
			if text := j.get(key); text != "" && text != "0" && text != "false" {
				j.wrong(key, key+" is of networks, and train.family is logistic", "train.family: network, or take it out")
			}
		}
	}
}

func (j *judging) traces() {
	for _, key := range []string{"otlp.sample", "otlp.headers-file", "otlp.ca"} {
		j.needs(key, "otlp.endpoint", "otlp.endpoint says to which collector traces are sent")
	}
	if url := j.get("otlp.endpoint"); strings.HasPrefix(url, "http://") {
		j.wrong("otlp.ca", "otlp.ca is of TLS, and otlp.endpoint begins with http://", "otlp.endpoint: https://HOST:PORT")
		if !localURL(url) {
			j.wrong("otlp.headers-file", "what the collector asks for would cross the network in clear", "otlp.endpoint: https://HOST:PORT")
		}
	}
}

// listeners sees that no two listen at one port.
func (j *judging) listeners() {
	taken := make(map[string]string)
	for _, key := range []string{"metrics.listen", "metrics.pprof", "broker.listen", "desk.web"} {
		_, port, err := net.SplitHostPort(j.get(key))
		if err != nil || port == "0" {
			continue
		}
		if other := taken[port]; other != "" {
			j.wrong(key, fmt.Sprintf("%s and %s both listen at port %s", other, key, port), "give one of them another port, or 0 for one that the system chooses")
		}
		taken[port] = key
	}
}
