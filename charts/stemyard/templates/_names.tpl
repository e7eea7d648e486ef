{{/* Names, labels and addresses. */}}

{{/*
Base of every object's name; at most 40 characters, since Jobs and Services add a suffix. Every template uses it first, so
the values are validated here, before a template fails on them.
*/}}
{{- define "stemyard.fullname" -}}
{{- include "stemyard.validate" . -}}
{{- .Values.fullnameOverride | default .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- end }}

{{/* Name of one component's objects. Takes a list: the root, the component. */}}
{{- define "stemyard.name" -}}
{{- printf "%s-%s" (include "stemyard.fullname" (index . 0)) (index . 1) -}}
{{- end }}

{{/* Selector labels of one component's pods, which never change. Takes a list: the root, the component. */}}
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

{{/* Watched namespaces as a sorted JSON list without duplicates. */}}
{{- define "stemyard.watchNamespaces" -}}
{{- .Values.watchNamespaces | default (list .Release.Namespace) | uniq | sortAlpha | toJson -}}
{{- end }}

{{/* Namespace in which the API creates SeparationJobs. */}}
{{- define "stemyard.apiNamespace" -}}
{{- .Values.api.namespace | default .Release.Namespace -}}
{{- end }}

{{/* Name of a component's ServiceAccount: the deployer's or the chart's. Takes a list: the root, the component. */}}
{{- define "stemyard.serviceAccount" -}}
{{- (get (index . 0).Values (index . 1)).serviceAccountName | default (include "stemyard.name" .) -}}
{{- end }}

{{/* Host name of a Service. Takes a list: the root, the component. */}}
{{- define "stemyard.host" -}}
{{- printf "%s.%s.svc.%s" (include "stemyard.name" .) (index . 0).Release.Namespace (index . 0).Values.clusterDomain -}}
{{- end }}

{{/* Address at which separators reach the desk. */}}
{{- define "stemyard.deskUrl" -}}
{{- printf "%s://%s:8085" (ternary "https" "http" .Values.tls.desk.enabled) (include "stemyard.host" (list . "desk")) -}}
{{- end }}

{{/* Endpoint of the object store for pods. */}}
{{- define "stemyard.storeEndpoint" -}}
{{- if .Values.store.enabled -}}
{{- printf "%s://%s:%v" (ternary "https" "http" .Values.tls.store.enabled) (include "stemyard.host" (list . "store")) .Values.store.service.port -}}
{{- else if .Values.objectStore.endpoint -}}
{{- .Values.objectStore.endpoint | trimSuffix "/" -}}
{{- else -}}
{{- printf "https://%s.r2.cloudflarestorage.com" .Values.objectStore.cloudflareAccountId -}}
{{- end -}}
{{- end }}

{{/*
"true" if the object store's credentials come from the ServiceAccounts, else empty: as set, or by EKS's annotation of both where no
keys are given.
*/}}
{{- define "stemyard.workloadIdentity" -}}
{{- $given := .Values.objectStore -}}
{{- $role := "eks.amazonaws.com/role-arn" -}}
{{- $annotated := and (hasKey .Values.api.serviceAccountAnnotations $role) (hasKey .Values.operator.serviceAccountAnnotations $role) -}}
{{- if or $given.workloadIdentity.enabled (and $annotated (not (or .Values.store.enabled $given.existingSecret $given.accessKeyId))) -}}
true
{{- end -}}
{{- end }}

{{/* Region of the signatures of object store requests. */}}
{{- define "stemyard.storeRegion" -}}
{{- .Values.objectStore.region | default (ternary "us-east-1" "auto" .Values.store.enabled) -}}
{{- end }}

{{/* Names of the Secrets with credentials: the deployer's or the chart's. */}}
{{- define "stemyard.apiSecret" -}}
{{- .Values.api.existingSecret | default (include "stemyard.name" (list . "api")) -}}
{{- end }}
{{- define "stemyard.objectStoreSecret" -}}
{{- .Values.objectStore.existingSecret | default (include "stemyard.name" (list . "object-store")) -}}
{{- end }}
{{- define "stemyard.redisSecret" -}}
{{- .Values.redis.existingSecret | default .Values.valkey.existingSecret | default (include "stemyard.name" (list . "redis")) -}}
{{- end }}
