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
{{- if .events }}
- name: WEBHOOK_EVENTS
  value: {{ .events | join "," | quote }}
{{- end }}
{{- if .proxyUrl }}
- name: WEBHOOK_PROXY_URL
  value: {{ .proxyUrl | quote }}
{{- end }}
{{- end }}
{{- if include "stemyard.webhookSecret" . }}
- name: WEBHOOK_SECRETS_DIR
  value: /etc/stemyard-webhooks
{{- end }}
{{- end }}
