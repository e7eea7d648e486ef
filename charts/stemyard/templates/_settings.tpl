{{/* Settings that the API and the operator share, as environment variables. */}}

{{/* Variables of both from Secrets, as a JSON object: variable, name of the Secret. */}}
{{- define "stemyard.sharedSecrets" -}}
{{- $store := include "stemyard.objectStoreSecret" . -}}
{{- dict "REDIS_URL" (include "stemyard.redisSecret" .) "R2_ACCESS_KEY_ID" $store "R2_SECRET_ACCESS_KEY" $store | toJson -}}
{{- end }}

{{/*
Variables from Secrets. They are optional, since the process itself reports a missing key, by the list of variables.
Takes a JSON object: variable, name of the Secret.
*/}}
{{- define "stemyard.secretEnv" -}}
{{- $listed := list -}}
{{- range $name, $secret := fromJson . -}}
{{- $listed = append $listed (printf "%s=%s" $name $secret) -}}
- name: {{ $name }}
  valueFrom:
    secretKeyRef: {name: {{ $secret }}, key: {{ $name }}, optional: true}
{{ end -}}
- name: STEMYARD_SECRET_VARIABLES
  value: {{ $listed | join "," | quote }}
{{- end }}

{{/* The same for files. Takes a JSON object: path, which ends with the key, and name of the Secret. */}}
{{- define "stemyard.secretFiles" -}}
{{- $listed := list -}}
{{- range $path, $secret := fromJson . -}}
{{- $listed = append $listed (printf "%s=%s" $path $secret) -}}
{{- end -}}
{{- if $listed }}
- name: STEMYARD_SECRET_FILES
  value: {{ $listed | join "," | quote }}
{{- end }}
{{- end }}

{{/* Files of both from Secrets, as a JSON object: path, name of the Secret. */}}
{{- define "stemyard.sharedFiles" -}}
{{- $files := dict -}}
{{- with .Values.redis.caSecret -}}
{{- $_ := set $files "/etc/stemyard-redis/ca.crt" . -}}
{{- end -}}
{{- toJson $files -}}
{{- end }}

{{/* Files of the API from Secrets. */}}
{{- define "stemyard.apiFiles" -}}
{{- $files := include "stemyard.sharedFiles" . | fromJson -}}
{{- with .Values.api.keys.existingSecret -}}
{{- $_ := set $files "/etc/stemyard/keys/keys.yaml" . -}}
{{- end -}}
{{- toJson $files -}}
{{- end }}

{{/* Volume mount and volume of the CA of an external Redis. */}}
{{- define "stemyard.redisMount" -}}
{{- if .Values.redis.caSecret }}
- {name: redis-ca, mountPath: /etc/stemyard-redis, readOnly: true}
{{- end }}
{{- end }}
{{- define "stemyard.redisVolume" -}}
{{- with .Values.redis.caSecret }}
- name: redis-ca
  secret: {secretName: {{ . }}, items: [{key: ca.crt, path: ca.crt}], optional: true}
{{- end }}
{{- end }}

{{- define "stemyard.sharedEnv" -}}
- name: STEMYARD_INSTALL_ID
  valueFrom:
    configMapKeyRef: {name: {{ include "stemyard.name" (list . "install") }}, key: installId}
{{- if .Values.redis.caSecret }}
- name: REDIS_CA_FILE
  value: /etc/stemyard-redis/ca.crt
{{- end }}
- name: R2_BUCKET
  value: {{ .Values.objectStore.bucket | quote }}
{{- with .Values.objectStore.publicDomain }}
- name: R2_PUBLIC_DOMAIN
  value: {{ . | quote }}
{{- end }}
{{- with .Values.objectStore.cloudflareAccountId }}
- name: CLOUDFLARE_ACCOUNT_ID
  value: {{ . | quote }}
{{- end }}
- name: S3_ENDPOINT_URL
  value: {{ include "stemyard.storeEndpoint" . | quote }}
- name: S3_PUBLIC_ENDPOINT_URL
  value: {{ .Values.objectStore.publicEndpoint | default (include "stemyard.storeEndpoint" .) | trimSuffix "/" | quote }}
- name: S3_REGION
  value: {{ include "stemyard.storeRegion" . | quote }}
- name: MAX_FILE_SIZE_MB
  value: {{ .Values.limits.maxFileSizeMb | int64 | quote }}
- name: MAX_DURATION_SECONDS
  value: {{ .Values.limits.maxDurationSeconds | int64 | quote }}
- name: DEFAULT_MODEL
  value: {{ .Values.models.default | quote }}
- name: ENABLED_MODELS
  value: {{ include "stemyard.models" . | fromJsonArray | join "," | quote }}
{{- with .Values.tracing.endpoint }}
- name: OTEL_EXPORTER_OTLP_ENDPOINT
  value: {{ . | quote }}
{{- end }}
- name: YOUTUBE_ENABLED
  value: {{ .Values.sources.youtube.enabled | quote }}
{{- with .Values.sources.objects.prefixes }}
- name: OBJECT_SOURCE_PREFIXES
  value: {{ join "," . | quote }}
{{- end }}
{{- end }}

{{/* Variables of the API from Secrets, as a JSON object: variable, name of the Secret. */}}
{{- define "stemyard.apiSecrets" -}}
{{- $secrets := include "stemyard.sharedSecrets" . | fromJson -}}
{{- if not .Values.api.insecureDev -}}
{{- $_ := set $secrets "API_SECRET_KEY" (include "stemyard.apiSecret" .) -}}
{{- end -}}
{{- if .Values.api.cloudflareKV.namespaceId -}}
{{- $_ := set $secrets "CLOUDFLARE_API_TOKEN" .Values.api.cloudflareKV.existingSecret -}}
{{- end -}}
{{- toJson $secrets -}}
{{- end }}
