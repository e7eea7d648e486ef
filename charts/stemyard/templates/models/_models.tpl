{{/* PersistentVolumeClaim of the model weights: the deployer's, or the chart's own, filled by a Job. */}}

{{- define "stemyard.modelClaim" -}}
{{- ternary (include "stemyard.name" (list . "models")) .Values.models.claim .Values.models.cache.enabled -}}
{{- end }}

{{/* Models that clients may request, as a JSON list. */}}
{{- define "stemyard.models" -}}
{{- .Values.models.enabled | default (list .Values.models.default) | uniq | sortAlpha | toJson -}}
{{- end }}

{{/* One container of the Job. Takes a list: the root, its name, its arguments. */}}
{{- define "stemyard.modelContainer" -}}
{{- $root := index . 0 -}}
- name: {{ index . 1 | lower | replace "_" "-" | trunc 63 | trimSuffix "-" }}
  image: {{ include "stemyard.image" (list $root "separatorCpu") }}
  imagePullPolicy: {{ $root.Values.images.pullPolicy }}
  command: {{ prepend (index . 2) "stemyard-models" | toJson }}
  terminationMessagePolicy: FallbackToLogsOnError
  securityContext:
    {{- include "stemyard.containerSecurity" $root | nindent 4 }}
  {{- with $root.Values.models.cache.host }}
  env:
    - {name: STEMYARD_MODEL_HOST, value: {{ . | quote }}}
  {{- end }}
  resources:
    {{- toYaml $root.Values.models.cache.resources | nindent 4 }}
  volumeMounts:
    - {name: cache, mountPath: /cache}
    - {name: tmp, mountPath: /tmp}
{{- end }}
