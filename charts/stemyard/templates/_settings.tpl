{{/* Settings that the API and the operator share, as environment variables. */}}

{{/* Variables of both from Secrets, as a JSON object: variable, name of the Secret. */}}
{{- define "stemyard.sharedSecrets" -}}
{{- $secrets := dict "REDIS_URL" (include "stemyard.redisSecret" .) -}}
{{- if not (include "stemyard.workloadIdentity" .) -}}
{{- range list "R2_ACCESS_KEY_ID" "R2_SECRET_ACCESS_KEY" -}}
{{- $_ := set $secrets . (include "stemyard.objectStoreSecret" $) -}}
{{- end -}}
{{- end -}}
{{- toJson $secrets -}}
{{- end }}

{{/*
Variables from Secrets. They are optional, since the process itself reports a missing key, by the list of variables. With
secrets.asFiles, the variable of their folder. Takes a list: the root, a JSON object: variable, name of the Secret.
*/}}
{{- define "stemyard.secretEnv" -}}
{{- $listed := list -}}
{{- if (index . 0).Values.secrets.asFiles -}}
- {name: STEMYARD_SECRETS_DIR, value: /etc/stemyard-secrets}
{{- else -}}
{{- range $name, $secret := index . 1 | fromJson -}}
{{- $listed = append $listed (printf "%s=%s" $name $secret) -}}
- name: {{ $name }}
  valueFrom:
    secretKeyRef: {name: {{ $secret }}, key: {{ $name }}, optional: true}
{{ end -}}
- name: STEMYARD_SECRET_VARIABLES
  value: {{ $listed | join "," | quote }}
{{- end -}}
{{- end }}

{{/*
Mount and volume of secrets as files, each named like its variable. Takes a list: the root, a JSON object: variable, name of the
Secret, then names of optional variables of the API's Secret.
*/}}
{{- define "stemyard.secretsMount" -}}
{{- if .Values.secrets.asFiles }}
- {name: secrets, mountPath: /etc/stemyard-secrets, readOnly: true}
{{- end }}
{{- end }}
{{- define "stemyard.secretsVolume" -}}
{{- $root := index . 0 -}}
{{- if $root.Values.secrets.asFiles }}
{{- $keys := dict -}}
{{- range $name, $secret := index . 1 | fromJson -}}
{{- $_ := set $keys $secret (append (get $keys $secret | default list) $name) -}}
{{- end -}}
{{- if and (slice . 2) (not $root.Values.api.insecureDev) -}}
{{- $secret := include "stemyard.apiSecret" $root -}}
{{- $_ := set $keys $secret (concat (get $keys $secret | default list) (slice . 2)) -}}
{{- end }}
- name: secrets
  projected:
    defaultMode: 0440
    sources:
      {{- range $secret, $names := $keys }}
      - secret:
          name: {{ $secret }}
          items: {{ range $index, $name := $names }}{{ if $index }}, {{ else }}[{{ end }}{key: {{ $name }}, path: {{ $name }}}{{ end }}]
          optional: true
      {{- end }}
{{- end }}
{{- end }}

{{/* Optional variables from the API's Secret. Takes a list: the root, then their names. */}}
{{- define "stemyard.optionalSecretEnv" -}}
{{- $root := index . 0 -}}
{{- if not (or $root.Values.api.insecureDev $root.Values.secrets.asFiles) }}
{{- range rest . }}
- name: {{ . }}
  valueFrom:
    secretKeyRef: {name: {{ include "stemyard.apiSecret" $root }}, key: {{ . }}, optional: true}
{{- end }}
{{- end }}
{{- end }}

{{/* Of both: the secrets from which those of registered webhooks are derived. */}}
{{- define "stemyard.masterSecretEnv" -}}
{{- include "stemyard.optionalSecretEnv" (list . "WEBHOOK_MASTER_SECRET" "WEBHOOK_MASTER_SECRET_PREVIOUS") }}
{{- end }}

{{/*
The same for files. Takes a list: the root, a JSON object: path, which ends with the key, and name of the Secret, and that of the
variables.
*/}}
{{- define "stemyard.secretFiles" -}}
{{- $listed := list -}}
{{- $files := index . 1 | fromJson -}}
{{- if (index . 0).Values.secrets.asFiles -}}
{{- range $name, $secret := index . 2 | fromJson -}}
{{- $_ := set $files (printf "/etc/stemyard-secrets/%s" $name) $secret -}}
{{- end -}}
{{- end -}}
{{- range $path, $secret := $files -}}
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
{{- if not (include "stemyard.caConfigMap" .) -}}
{{- range include "stemyard.caParts" . | fromJsonArray -}}
{{- $_ := set $files (include "stemyard.caFile" .) (include "stemyard.tlsSecret" (list $ .)) -}}
{{- end -}}
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

{{/* Volume mount and volume of the ServiceAccount's token for the object store's token service. */}}
{{- define "stemyard.storeTokenMount" -}}
{{- if .Values.objectStore.workloadIdentity.roleArn }}
- {name: store-token, mountPath: /var/run/secrets/stemyard-store, readOnly: true}
{{- end }}
{{- end }}
{{- define "stemyard.storeTokenVolume" -}}
{{- with .Values.objectStore.workloadIdentity }}
{{- if .roleArn }}
- name: store-token
  projected:
    sources:
      - serviceAccountToken: {audience: {{ .audience | quote }}, expirationSeconds: {{ .tokenExpirationSeconds | int64 }}, path: token}
{{- end }}
{{- end }}
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
{{- if .Values.tls.valkey.enabled }}
- name: REDIS_CA_FILE
  value: {{ include "stemyard.caFile" "valkey" }}
{{- end }}
{{- if .Values.tls.store.enabled }}
- name: S3_CA_FILE
  value: {{ include "stemyard.caFile" "store" }}
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
{{- if include "stemyard.workloadIdentity" . }}
{{- with .Values.objectStore.workloadIdentity }}
{{- with .roleArn }}
- name: AWS_ROLE_ARN
  value: {{ . | quote }}
- name: AWS_WEB_IDENTITY_TOKEN_FILE
  value: /var/run/secrets/stemyard-store/token
{{- end }}
{{- with .stsEndpoint }}
- name: AWS_ENDPOINT_URL_STS
  value: {{ trimSuffix "/" . | quote }}
{{- end }}
{{- end }}
{{- end }}
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

{{/* Which URLs webhooks may be sent to: the API refuses others in requests, and the operator sends nothing to them. */}}
{{- define "stemyard.webhookGuardEnv" -}}
{{- with .Values.webhooks -}}
- name: WEBHOOK_ALLOW_HTTP
  value: {{ .allowHttp | quote }}
{{- if .url }}
- name: WEBHOOK_URL
  value: {{ .url | quote }}
{{- end }}
{{- if .ports }}
- name: WEBHOOK_PORTS
  value: {{ .ports | join "," | quote }}
{{- end }}
{{- if .allowedOrigins }}
- name: WEBHOOK_ALLOWED_ORIGINS
  value: {{ .allowedOrigins | join "," | quote }}
{{- end }}
{{- end }}
{{- with .Values.clusterCIDRs }}
- name: WEBHOOK_DENIED_CIDRS
  value: {{ . | join "," | quote }}
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
