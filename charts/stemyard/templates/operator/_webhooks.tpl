{{/* The operator's webhook settings. */}}

{{/* Name of the Secret with webhook endpoints and signing secrets; empty if there are none. */}}
{{- define "stemyard.webhookSecret" -}}
{{- if .Values.webhooks.existingSecret -}}
{{- .Values.webhooks.existingSecret -}}
{{- else if or .Values.webhooks.secret .Values.webhooks.endpoints .Values.webhooks.keySecrets -}}
{{- include "stemyard.name" (list . "webhooks") -}}
{{- end -}}
{{- end }}

{{- define "stemyard.webhookEnv" -}}
{{- with .Values.webhooks -}}
- name: WEBHOOK_TIMEOUT_SECONDS
  value: {{ .timeoutSeconds | int64 | quote }}
- name: WEBHOOK_CONCURRENCY
  value: {{ .concurrency | int64 | quote }}
- name: WEBHOOK_CONCURRENCY_PER_TARGET
  value: {{ .concurrencyPerTarget | int64 | quote }}
- name: WEBHOOK_ALLOW_HTTP
  value: {{ .allowHttp | quote }}
{{- if .url }}
- name: WEBHOOK_URL
  value: {{ .url | quote }}
{{- end }}
{{- if .events }}
- name: WEBHOOK_EVENTS
  value: {{ .events | join "," | quote }}
{{- end }}
{{- if .ports }}
- name: WEBHOOK_PORTS
  value: {{ .ports | join "," | quote }}
{{- end }}
{{- if .allowedOrigins }}
- name: WEBHOOK_ALLOWED_ORIGINS
  value: {{ .allowedOrigins | join "," | quote }}
{{- end }}
{{- if .proxyUrl }}
- name: WEBHOOK_PROXY_URL
  value: {{ .proxyUrl | quote }}
{{- end }}
{{- end }}
{{- with .Values.clusterCIDRs }}
- name: WEBHOOK_DENIED_CIDRS
  value: {{ . | join "," | quote }}
{{- end }}
{{- if include "stemyard.webhookSecret" . }}
- name: WEBHOOK_SECRETS_DIR
  value: /etc/stemyard-webhooks
{{- end }}
{{- end }}
