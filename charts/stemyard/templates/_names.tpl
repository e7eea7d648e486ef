{{/* Names, labels and addresses: what every object is called and how pods call each other. */}}

{{/*
Base of every object's name. Jobs and Services add a suffix, so 40 characters at most. Every template begins with a
name: here what cannot work is said before any of them trips over it.
*/}}
{{- define "stemyard.fullname" -}}
{{- include "stemyard.validate" . -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* Name of one component's objects. Takes a list: the root, the component. */}}
{{- define "stemyard.name" -}}
{{- printf "%s-%s" (include "stemyard.fullname" (index . 0)) (index . 1) -}}
{{- end }}

{{/* Labels that select one component's pods; they never change. Takes a list: the root, the component. */}}
{{- define "stemyard.selectorLabels" -}}
app.kubernetes.io/name: {{ (index . 0).Chart.Name }}
app.kubernetes.io/instance: {{ (index . 0).Release.Name }}
app.kubernetes.io/component: {{ index . 1 }}
{{- end }}

{{/* Labels of an object. Takes a list: the root, the component. */}}
{{- define "stemyard.labels" -}}
{{ include "stemyard.selectorLabels" . }}
app.kubernetes.io/version: {{ (index . 0).Chart.AppVersion | quote }}
app.kubernetes.io/part-of: stemyard
app.kubernetes.io/managed-by: {{ (index . 0).Release.Service }}
helm.sh/chart: {{ printf "%s-%s" (index . 0).Chart.Name (index . 0).Chart.Version | replace "+" "_" }}
{{- with (index . 0).Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* Watched namespaces as a JSON list, sorted and each once. */}}
{{- define "stemyard.watchNamespaces" -}}
{{- .Values.watchNamespaces | default (list .Release.Namespace) | uniq | sortAlpha | toJson -}}
{{- end }}

{{/* Namespace in which the API creates SeparationJobs. */}}
{{- define "stemyard.apiNamespace" -}}
{{- .Values.api.namespace | default .Release.Namespace -}}
{{- end }}

{{/* Host name of a Service. Takes a list: the root, the component. */}}
{{- define "stemyard.host" -}}
{{- printf "%s.%s.svc.%s" (include "stemyard.name" .) (index . 0).Release.Namespace (index . 0).Values.clusterDomain -}}
{{- end }}

{{/* Address at which separators reach the desk. */}}
{{- define "stemyard.deskUrl" -}}
{{- printf "http://%s:8085" (include "stemyard.host" (list . "desk")) -}}
{{- end }}

{{/* Endpoint of the object store for pods. */}}
{{- define "stemyard.storeEndpoint" -}}
{{- if .Values.store.enabled -}}
{{- printf "http://%s:%v" (include "stemyard.host" (list . "store")) .Values.store.service.port -}}
{{- else if .Values.objectStore.endpoint -}}
{{- .Values.objectStore.endpoint | trimSuffix "/" -}}
{{- else -}}
{{- printf "https://%s.r2.cloudflarestorage.com" .Values.objectStore.cloudflareAccountId -}}
{{- end -}}
{{- end }}

{{/* Region that requests to the object store are signed for. */}}
{{- define "stemyard.storeRegion" -}}
{{- .Values.objectStore.region | default (ternary "us-east-1" "auto" .Values.store.enabled) -}}
{{- end }}

{{/* Names of the Secrets that hold credentials: the deployer's own or the chart's. */}}
{{- define "stemyard.apiSecret" -}}
{{- .Values.api.existingSecret | default (include "stemyard.name" (list . "api")) -}}
{{- end }}
{{- define "stemyard.objectStoreSecret" -}}
{{- .Values.objectStore.existingSecret | default (include "stemyard.name" (list . "object-store")) -}}
{{- end }}
{{- define "stemyard.redisSecret" -}}
{{- .Values.redis.existingSecret | default .Values.valkey.existingSecret | default (include "stemyard.name" (list . "redis")) -}}
{{- end }}
