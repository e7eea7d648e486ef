{{/*
Values generated once: a given value takes precedence, then the one in the cluster, then a random one. It is cached during
rendering, so that every file and every checksum that uses it gets the same value.
*/}}

{{- define "stemyard.cached" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- if not (hasKey $root.Values "cached") -}}
{{- $_ := set $root.Values "cached" dict -}}
{{- end -}}
{{- if not (hasKey $root.Values.cached $name) -}}
{{- $_ := set $root.Values.cached $name (index . 2) -}}
{{- end -}}
{{- get $root.Values.cached $name -}}
{{- end }}

{{/*
Refuse to generate a value where no cluster can be looked up for an earlier one: each rendering would have another. Every cluster
has the namespace `default`.
*/}}
{{- define "stemyard.validateGenerated" -}}
{{- if not (lookup "v1" "Namespace" "" "default") -}}
{{- $missing := list -}}
{{- with .Values -}}
{{- if not .install.id }}{{ $missing = append $missing "install.id" }}{{ end -}}
{{- if not (or .api.existingSecret .api.secretKey .api.insecureDev) }}{{ $missing = append $missing "api.existingSecret" }}{{ end -}}
{{- if and .valkey.enabled (not (or .valkey.existingSecret .valkey.password)) }}{{ $missing = append $missing "valkey.existingSecret" }}{{ end -}}
{{- if and .store.enabled (not (or .objectStore.existingSecret .objectStore.accessKeyId)) }}{{ $missing = append $missing "objectStore.existingSecret" }}{{ end -}}
{{- end -}}
{{- fail (printf "rendered without a cluster, the chart cannot read back the id and keys that it generated, and each rendering would have others; set %s, or render against the cluster (helm template --dry-run=server)" (join ", " $missing)) -}}
{{- end -}}
{{- end }}

{{/* A value of one of the chart's Secrets. Takes a list: the root, the Secret's suffix, the key, the given value, the length. */}}
{{- define "stemyard.secretValue" -}}
{{- $root := index . 0 -}}
{{- $data := (lookup "v1" "Secret" $root.Release.Namespace (include "stemyard.name" (list $root (index . 1)))).data | default dict -}}
{{- $found := get $data (index . 2) | b64dec -}}
{{- if not (or (index . 3) $found) }}{{ include "stemyard.validateGenerated" $root }}{{ end -}}
{{- include "stemyard.cached" (list $root (printf "%s/%s" (index . 1) (index . 2)) (index . 3 | default $found | default (randAlphaNum (index . 4)))) -}}
{{- end }}

{{/* The installation id. */}}
{{- define "stemyard.installId" -}}
{{- $data := (lookup "v1" "ConfigMap" .Release.Namespace (include "stemyard.name" (list . "install"))).data | default dict -}}
{{- $found := get $data "installId" -}}
{{- $given := .Values.install.id -}}
{{- if and $given $found (ne $given $found) -}}
{{- fail (printf "install.id: this release already has the id %q, which prefixes all its objects; leave install.id empty or delete the ConfigMap %s" $found (include "stemyard.name" (list . "install"))) -}}
{{- end -}}
{{- if not (or $given $found) }}{{ include "stemyard.validateGenerated" . }}{{ end -}}
{{- include "stemyard.cached" (list . "installId" ($given | default $found | default (randAlphaNum 16 | lower))) -}}
{{- end }}

{{- define "stemyard.redisUrl" -}}
{{- if .Values.valkey.enabled -}}
{{- printf "%s://stemyard:%s@%s:6379/0" (ternary "rediss" "redis" .Values.tls.valkey.enabled) (include "stemyard.valkeyPassword" .) (include "stemyard.host" (list . "valkey")) -}}
{{- else -}}
{{- .Values.redis.url -}}
{{- end -}}
{{- end }}

{{- define "stemyard.valkeyPassword" -}}
{{- include "stemyard.secretValue" (list . "redis" "VALKEY_PASSWORD" .Values.valkey.password 32) -}}
{{- end }}
