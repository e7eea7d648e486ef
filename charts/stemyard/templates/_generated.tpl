{{/*
Values made once: given ones win, then what the cluster already holds, then a random one. Remembered for the rest of
the rendering, so that every file that names one, and every checksum, sees the same.
*/}}

{{- define "stemyard.remembered" -}}
{{- $root := index . 0 -}}
{{- $name := index . 1 -}}
{{- if not (hasKey $root.Values "remembered") -}}
{{- $_ := set $root.Values "remembered" dict -}}
{{- end -}}
{{- if not (hasKey $root.Values.remembered $name) -}}
{{- $_ := set $root.Values.remembered $name (index . 2) -}}
{{- end -}}
{{- get $root.Values.remembered $name -}}
{{- end }}

{{/* A value of one of the chart's Secrets. Takes a list: the root, the Secret's suffix, the key, the given value, the length. */}}
{{- define "stemyard.secretValue" -}}
{{- $root := index . 0 -}}
{{- $data := (lookup "v1" "Secret" $root.Release.Namespace (include "stemyard.name" (list $root (index . 1)))).data | default dict -}}
{{- $found := get $data (index . 2) | b64dec -}}
{{- include "stemyard.remembered" (list $root (printf "%s/%s" (index . 1) (index . 2)) (index . 3 | default $found | default (randAlphaNum (index . 4)))) -}}
{{- end }}

{{/* The id of this installation. */}}
{{- define "stemyard.installId" -}}
{{- $data := (lookup "v1" "ConfigMap" .Release.Namespace (include "stemyard.name" (list . "install"))).data | default dict -}}
{{- $found := get $data "installId" -}}
{{- $given := .Values.install.id -}}
{{- if and $given $found (ne $given $found) -}}
{{- fail (printf "install.id: this release already has the id %q, and all its objects lie below it; leave install.id empty or delete the ConfigMap %s" $found (include "stemyard.name" (list . "install"))) -}}
{{- end -}}
{{- include "stemyard.remembered" (list . "installId" ($given | default $found | default (randAlphaNum 16 | lower))) -}}
{{- end }}

{{- define "stemyard.redisUrl" -}}
{{- if .Values.valkey.enabled -}}
{{- printf "redis://stemyard:%s@%s:6379/0" (include "stemyard.valkeyPassword" .) (include "stemyard.host" (list . "valkey")) -}}
{{- else -}}
{{- .Values.redis.url -}}
{{- end -}}
{{- end }}

{{- define "stemyard.valkeyPassword" -}}
{{- include "stemyard.secretValue" (list . "redis" "VALKEY_PASSWORD" .Values.valkey.password 32) -}}
{{- end }}
