{{/* Settings that the API and the operator share, as environment variables. */}}

{{- define "stemyard.sharedEnv" -}}
- name: STEMYARD_INSTALL_ID
  valueFrom:
    configMapKeyRef: {name: {{ include "stemyard.name" (list . "install") }}, key: installId}
- name: REDIS_URL
  valueFrom:
    secretKeyRef: {name: {{ include "stemyard.redisSecret" . }}, key: REDIS_URL}
- name: R2_ACCESS_KEY_ID
  valueFrom:
    secretKeyRef: {name: {{ include "stemyard.objectStoreSecret" . }}, key: R2_ACCESS_KEY_ID}
- name: R2_SECRET_ACCESS_KEY
  valueFrom:
    secretKeyRef: {name: {{ include "stemyard.objectStoreSecret" . }}, key: R2_SECRET_ACCESS_KEY}
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
  value: {{ .Values.limits.maxFileSizeMb | quote }}
- name: MAX_DURATION_SECONDS
  value: {{ .Values.limits.maxDurationSeconds | quote }}
- name: DEFAULT_MODEL
  value: {{ .Values.models.default | quote }}
- name: ENABLED_MODELS
  value: {{ .Values.models.enabled | default (list .Values.models.default) | join "," | quote }}
- name: YOUTUBE_ENABLED
  value: {{ .Values.sources.youtube.enabled | quote }}
{{- with .Values.sources.objects.prefixes }}
- name: OBJECT_SOURCE_PREFIXES
  value: {{ join "," . | quote }}
{{- end }}
{{- end }}
