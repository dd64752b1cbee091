{{- define "weir.name" -}}
{{- if contains .Chart.Name .Release.Name }}{{ .Release.Name | trunc 40 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name .Chart.Name | trunc 40 | trimSuffix "-" }}{{ end }}
{{- end }}

{{- define "weir.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "weir.labels" -}}
{{ include "weir.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/part-of: {{ .Chart.Name }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "weir.serviceAccount" -}}
{{- .Values.serviceAccount.name | default (ternary (include "weir.name" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- /* What the pod of a role runs as: (list $ role). That of a release is not there yet when
migrate runs before it. */}}
{{- define "weir.runsAs" -}}
{{- $root := index . 0 }}
{{- if and (eq (index . 1) "migrate") $root.Values.serviceAccount.create }}{{ include "weir.name" $root }}-migrate
{{- else }}{{ include "weir.serviceAccount" $root }}
{{- end }}
{{- end }}

{{- /* Whether a role serves, rather than ends: a role. */}}
{{- define "weir.serves" -}}
{{- if not (has . (list "train" "migrate")) }}yes{{ end }}
{{- end }}

{{- /* What makes of an object a hook that is there before a release is installed or upgraded,
in the order of the weights: a weight. It goes before anything of the release. */}}
{{- define "weir.before" -}}
helm.sh/hook: pre-install,pre-upgrade
helm.sh/hook-weight: {{ . | quote }}
helm.sh/hook-delete-policy: before-hook-creation
{{- end }}

{{- /* The image of a role: (list $ gpu). */}}
{{- define "weir.image" -}}
{{- $i := (index . 0).Values.image }}
{{- $gpu := index . 1 }}
{{- $digest := ternary $i.gpuDigest $i.digest $gpu }}
{{- if $digest }}{{ printf "%s@%s" $i.repository $digest }}
{{- else }}{{ printf "%s:%s%s" $i.repository ($i.tag | default (index . 0).Chart.AppVersion) (ternary "-gpu" "" $gpu) }}
{{- end }}
{{- end }}

{{- /* The weir.yaml of a role: (list $ role). migrate has what it takes alone: files that others
name are not there yet. */}}
{{- define "weir.config" -}}
{{- $v := (index . 0).Values }}
{{- $role := index . 1 }}
{{- $config := mergeOverwrite (deepCopy $v.config) (deepCopy (index $v $role).config) }}
{{- toYaml (ternary (pick $config "kafka" "history") $config (eq $role "migrate")) }}
{{- end }}

{{- /* What a pod mounts of a Secret, and the variables that say where: (list $ role). Each
line is NAME SECRET-KEY VARIABLE. */}}
{{- define "weir.secrets" -}}
{{- $v := (index . 0).Values }}
{{- $s := $v.secrets }}
{{- $role := index . 1 }}
{{- $all := list }}
{{- $keys := dict "name" $s.keys "folder" "keys" "files" dict }}
{{- if eq $role "score" }}
{{- $_ := set $keys.files "token.key" "WEIR_KEYS_TOKEN_FILE" }}
{{- $_ := set $keys.files "models.pem" "WEIR_KEYS_TRUST_FILE" }}
{{- if $s.previousTokenKey }}{{- $_ := set $keys.files "token-previous.key" "WEIR_KEYS_TOKEN_PREVIOUS_FILE" }}{{- end }}
{{- if $s.rollbackKey }}{{- $_ := set $keys.files "rollback.key" "WEIR_KEYS_ROLLBACK_FILE" }}{{- end }}
{{- else if eq $role "desk" }}
{{- $_ := set $keys.files "models.pem" "WEIR_KEYS_TRUST_FILE" }}
{{- if $s.deskKey }}{{- $_ := set $keys.files "desk.key" "WEIR_KEYS_DESK_FILE" }}{{- end }}
{{- else if eq $role "train" }}
{{- $_ := set $keys.files "models.pem" "WEIR_KEYS_TRUST_FILE" }}
{{- $_ := set $keys.files "train.key" "WEIR_KEYS_TRAIN_FILE" }}
{{- end }}
{{- if $keys.files }}{{- $all = append $all $keys }}{{- end }}
{{- $own := (index $v $role).secrets }}
{{- $kafka := mergeOverwrite (deepCopy $s.kafka) (deepCopy ($own.kafka | default dict)) }}
{{- $history := mergeOverwrite (deepCopy $s.history) (deepCopy ($own.history | default dict)) }}
{{- $sources := list (list $kafka "kafka" (dict "password" "WEIR_KAFKA_PASSWORD_FILE" "ca" "WEIR_KAFKA_CA" "cert" "WEIR_KAFKA_CERT" "key" "WEIR_KAFKA_KEY")) }}
{{- if ne $role "score" }}{{- $sources = append $sources (list $history "history" (dict "password" "WEIR_HISTORY_PASSWORD_FILE" "ca" "WEIR_HISTORY_CA")) }}{{- end }}
{{- if eq $role "score" }}{{- $sources = append $sources (list $s.schemaRegistry "schema-registry" (dict "password" "WEIR_SCHEMA_REGISTRY_PASSWORD_FILE" "ca" "WEIR_SCHEMA_REGISTRY_CA")) }}{{- end }}
{{- if eq $role "desk" }}{{- $sources = append $sources (list $s.oidc "oidc" (dict "clientSecret" "WEIR_OIDC_CLIENT_SECRET_FILE" "ca" "SSL_CERT_FILE")) }}{{- end }}
{{- if and (include "weir.serves" $role) (dig "otlp" "endpoint" "" (include "weir.config" . | fromYaml)) }}{{- $sources = append $sources (list $s.otlp "otlp" (dict "headers" "WEIR_OTLP_HEADERS_FILE" "ca" "WEIR_OTLP_CA")) }}{{- end }}
{{- range $sources }}
{{- $from := index . 0 }}
{{- $entry := dict "name" $from.name "folder" (index . 1) "files" dict }}
{{- if $from.name }}{{- range $what, $variable := index . 2 }}
{{- with index $from $what }}{{- $_ := set $entry.files . $variable }}{{- end }}
{{- end }}{{- end }}
{{- if $entry.files }}{{- $all = append $all $entry }}{{- end }}
{{- end }}
{{- if and (eq $role "desk") $s.deskTLS.name }}
{{- $all = append $all (dict "name" $s.deskTLS.name "folder" "tls" "files" (dict "tls.crt" "WEIR_DESK_TLS_CERT" "tls.key" "WEIR_DESK_TLS_KEY")) }}
{{- end }}
{{- if and (include "weir.serves" $role) $s.metricsTLS.name }}
{{- $all = append $all (dict "name" $s.metricsTLS.name "folder" "metrics-tls" "files" (dict "tls.crt" "WEIR_METRICS_TLS_CERT" "tls.key" "WEIR_METRICS_TLS_KEY")) }}
{{- end }}
{{- $all | toJson }}
{{- end }}

{{- /* The pod of a role: (dict "root" $ "role" ROLE "data" NAME-OF-THE-VOLUME "gpu" BOOL). */}}
{{- define "weir.pod" -}}
{{- $root := .root }}
{{- $role := .role }}
{{- $own := index $root.Values $role }}
{{- $secrets := include "weir.secrets" (list $root $role) | fromJsonArray }}
metadata:
  labels:
    {{- include "weir.labels" $root | nindent 4 }}
    app.kubernetes.io/component: {{ $role }}
  annotations:
    # Pods begin anew where their settings have changed.
    checksum/config: {{ include "weir.config" (list $root $role) | sha256sum }}
    checksum/files: {{ $root.Values.files | toJson | sha256sum }}
    {{- with $own.podAnnotations }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
spec:
  serviceAccountName: {{ include "weir.runsAs" (list $root $role) }}
  automountServiceAccountToken: false
  enableServiceLinks: false
  {{- with $root.Values.image.pullSecrets }}
  imagePullSecrets:
    {{- range . }}
    - name: {{ . }}
    {{- end }}
  {{- end }}
  securityContext:
    runAsNonRoot: true
    runAsUser: 65532
    runAsGroup: 65532
    fsGroup: 65532
    # A key or a database that others may read is refused: modes are not to be widened at
    # every start.
    fsGroupChangePolicy: OnRootMismatch
    seccompProfile: {type: RuntimeDefault}
  {{- if include "weir.serves" $role }}
  terminationGracePeriodSeconds: {{ $own.terminationGracePeriodSeconds }}
  {{- end }}
  {{- with $own.priorityClassName }}
  priorityClassName: {{ . }}
  {{- end }}
  {{- if and .gpu $own.gpu.runtimeClassName }}
  runtimeClassName: {{ $own.gpu.runtimeClassName }}
  {{- end }}
  {{- if not (include "weir.serves" $role) }}
  restartPolicy: Never
  {{- end }}
  {{- if and (eq $role "score") (ne $own.antiAffinity "none") }}
  affinity:
    podAntiAffinity:
      {{- if eq $own.antiAffinity "required" }}
      requiredDuringSchedulingIgnoredDuringExecution:
        - topologyKey: {{ $own.topologyKey }}
          labelSelector:
            matchLabels:
              {{- include "weir.selector" $root | nindent 14 }}
              app.kubernetes.io/component: {{ $role }}
      {{- else }}
      preferredDuringSchedulingIgnoredDuringExecution:
        - weight: 100
          podAffinityTerm:
            topologyKey: {{ $own.topologyKey }}
            labelSelector:
              matchLabels:
                {{- include "weir.selector" $root | nindent 16 }}
                app.kubernetes.io/component: {{ $role }}
      {{- end }}
  {{- end }}
  {{- with $own.nodeSelector }}
  nodeSelector:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  {{- with $own.tolerations }}
  tolerations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
  containers:
    - name: {{ $role }}
      image: {{ include "weir.image" (list $root .gpu) | quote }}
      imagePullPolicy: {{ $root.Values.image.pullPolicy }}
      args: [{{ $role }}, --config, /etc/weir/weir.yaml]
      env:
        {{- if ne $role "train" }}
        - {name: WEIR_DATA, value: /data}
        {{- else }}
        - {name: WEIR_TRAIN_JOURNAL, value: /data/trials.jsonl}
        {{- end }}
        {{- if include "weir.serves" $role }}
        - {name: WEIR_METRICS_LISTEN, value: "0.0.0.0:9464"}
        {{- end }}
        {{- if eq $role "desk" }}
        - {name: WEIR_DESK_WEB, value: "0.0.0.0:8464"}
        {{- if $own.ingress.enabled }}
        - {name: WEIR_DESK_PUBLIC_URL, value: {{ printf "https://%s" $own.ingress.host | quote }}}
        {{- end }}
        {{- if not $root.Values.secrets.deskTLS.name }}
        - {name: WEIR_DESK_BEHIND_TLS, value: "true"}
        {{- end }}
        {{- end }}
        {{- range $secrets }}
        {{- $folder := .folder }}
        {{- range $file, $variable := .files }}
        - {name: {{ $variable }}, value: /run/secrets/weir/{{ $folder }}/{{ $file }}}
        {{- end }}
        {{- end }}
      {{- if include "weir.serves" $role }}
      ports:
        - {name: metrics, containerPort: 9464}
        {{- if eq $role "desk" }}
        - {name: web, containerPort: 8464}
        {{- end }}
      {{- $scheme := ternary "HTTPS" "HTTP" (ne $root.Values.secrets.metricsTLS.name "") }}
      startupProbe:
        httpGet: {path: /healthz, port: metrics, scheme: {{ $scheme }}}
        periodSeconds: 5
        failureThreshold: 60
      livenessProbe:
        httpGet: {path: /healthz, port: metrics, scheme: {{ $scheme }}}
        periodSeconds: 10
        timeoutSeconds: 5
        failureThreshold: 6
      readinessProbe:
        httpGet: {path: /readyz, port: metrics, scheme: {{ $scheme }}}
        periodSeconds: 5
        timeoutSeconds: 5
      {{- end }}
      resources:
        {{- $resources := deepCopy $own.resources }}
        {{- if .gpu }}
        {{- $_ := set $resources "limits" (merge (dict $own.gpu.resource $own.gpu.count) ($resources.limits | default dict)) }}
        {{- end }}
        {{- toYaml $resources | nindent 8 }}
      securityContext:
        allowPrivilegeEscalation: false
        readOnlyRootFilesystem: true
        capabilities: {drop: [ALL]}
      volumeMounts:
        - {name: {{ .data }}, mountPath: /data}
        - {name: tmp, mountPath: /tmp}
        - {name: config, mountPath: /etc/weir/weir.yaml, subPath: {{ $role }}.yaml, readOnly: true}
        {{- if and $root.Values.files (ne $role "migrate") }}
        - {name: files, mountPath: /etc/weir/files, readOnly: true}
        {{- end }}
        {{- range $secrets }}
        - {name: secret-{{ .folder }}, mountPath: /run/secrets/weir/{{ .folder }}, readOnly: true}
        {{- end }}
  volumes:
    - name: tmp
      emptyDir: {sizeLimit: 1Gi}
    {{- if not .claim }}
    - name: {{ .data }}
      emptyDir: {sizeLimit: {{ $own.scratchSize | default "64Mi" }}}
    {{- end }}
    - name: config
      configMap: {name: {{ include "weir.name" $root }}-{{ ternary "migrate" "config" (eq $role "migrate") }}}
    {{- if and $root.Values.files (ne $role "migrate") }}
    - name: files
      configMap: {name: {{ include "weir.name" $root }}-files}
    {{- end }}
    {{- range $secrets }}
    - name: secret-{{ .folder }}
      secret:
        secretName: {{ .name }}
        # With the pod's group this is 0440, which weir takes.
        defaultMode: 0400
        items:
          {{- range $file, $variable := .files }}
          - {key: {{ $file }}, path: {{ $file }}}
          {{- end }}
    {{- end }}
{{- end }}

{{- /* The claim of a volume for /data, by a role's values. */}}
{{- define "weir.claim" -}}
- metadata: {name: data}
  spec:
    accessModes: [ReadWriteOnce]
    {{- with .storage.className }}
    storageClassName: {{ . }}
    {{- end }}
    resources:
      requests: {storage: {{ .storage.size }}}
{{- end }}
