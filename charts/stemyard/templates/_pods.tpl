{{/* Parts of pods: images, security contexts, scheduling. */}}

{{/* Reference of an image. Takes a list: the root, the image's name in `images`. */}}
{{- define "stemyard.image" -}}
{{- $root := index . 0 -}}
{{- $image := get $root.Values.images (index . 1) -}}
{{- $tag := $image.tag | default (print $root.Chart.AppVersion (get (dict "separatorCpu" "-cpu" "separatorCuda" "-cuda") (index . 1))) -}}
{{- $pinned := get ($root.Files.Get "files/pinned-images.yaml" | fromYaml) (printf "%s:%s" $image.repository $tag) -}}
{{- $repository := $image.repository -}}
{{- with $root.Values.images.registry -}}
{{- $parts := splitList "/" $repository -}}
{{- $first := first $parts -}}
{{- if and (gt (len $parts) 1) (or (contains "." $first) (contains ":" $first) (eq $first "localhost")) -}}
{{- $repository = rest $parts | join "/" -}}
{{- end -}}
{{- $repository = printf "%s/%s" (trimSuffix "/" .) $repository -}}
{{- end -}}
{{- with $image.digest | default $pinned -}}
{{- printf "%s@%s" $repository . -}}
{{- else -}}
{{- printf "%s:%s" $repository $tag -}}
{{- end -}}
{{- end }}

{{/* Pod spec fields that every pod of the chart has. Takes a list: the root, the component's values. */}}
{{- define "stemyard.podBasics" -}}
enableServiceLinks: false
securityContext:
  {{- include "stemyard.podSecurity" (index . 0) | nindent 2 }}
{{- with (index . 0).Values.images.pullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
{{- with (index . 1).priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with (index . 1).nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with (index . 1).tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with (index . 1).affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* Security context of every pod. */}}
{{- define "stemyard.podSecurity" -}}
{{- $context := dict "runAsNonRoot" true "fsGroupChangePolicy" "OnRootMismatch" "seccompProfile" (dict "type" "RuntimeDefault") -}}
{{- with .Values.podSecurity.user -}}
{{- range $field := list "runAsUser" "runAsGroup" "fsGroup" -}}
{{- $_ := set $context $field (int64 $.Values.podSecurity.user) -}}
{{- end -}}
{{- end -}}
{{- mergeOverwrite $context .Values.podSecurity.context | toYaml -}}
{{- end }}

{{/* Labels of a component's pods. Takes a list: the root, the component, its values. */}}
{{- define "stemyard.podLabels" -}}
{{ mergeOverwrite (include "stemyard.labels" . | fromYaml) (index . 2).podLabels | toYaml }}
{{- end }}

{{/* Annotation that lets the cluster autoscaler evict the pod, whose local data is temporary. Takes the component's values. */}}
{{- define "stemyard.safeToEvict" -}}
{{- $name := "cluster-autoscaler.kubernetes.io/safe-to-evict" -}}
{{- if not (hasKey .podAnnotations $name) -}}
{{ $name }}: "true"
{{- end -}}
{{- end }}

{{/* Topology spread constraints over zones and nodes. Takes a list: the root, the component, its values. */}}
{{- define "stemyard.spread" -}}
{{- $selector := dict "labelSelector" (dict "matchLabels" (include "stemyard.selectorLabels" . | fromYaml)) -}}
{{- $soft := dict "maxSkew" 1 "whenUnsatisfiable" "ScheduleAnyway" -}}
{{- $zones := dict "topologyKey" "topology.kubernetes.io/zone" | mergeOverwrite (deepCopy $soft) -}}
{{- $nodes := dict "topologyKey" "kubernetes.io/hostname" | mergeOverwrite (deepCopy $soft) -}}
topologySpreadConstraints:
{{- range (index . 2).topologySpreadConstraints | default (list $zones $nodes) }}
  - {{- merge (deepCopy .) $selector | toYaml | nindent 4 }}
{{- end }}
{{- end }}

{{/* PodDisruptionBudget of a component. Takes a list: the root, the component, its values. */}}
{{- define "stemyard.podDisruptionBudget" -}}
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata:
  name: {{ include "stemyard.name" . }}
  labels:
    {{- include "stemyard.labels" . | nindent 4 }}
spec:
  maxUnavailable: {{ (index . 2).podDisruptionBudget.maxUnavailable }}
  # An unhealthy pod does not block the drain of its node.
  unhealthyPodEvictionPolicy: AlwaysAllow
  selector:
    matchLabels:
      {{- include "stemyard.selectorLabels" . | nindent 6 }}
{{- end }}

{{/* Number of API replicas that per-replica limits are divided by. */}}
{{- define "stemyard.apiReplicas" -}}
{{- ternary .Values.api.autoscaling.minReplicas (max 1 .Values.api.replicas) .Values.api.autoscaling.enabled -}}
{{- end }}

{{/* Security context of every container. */}}
{{- define "stemyard.containerSecurity" -}}
allowPrivilegeEscalation: false
readOnlyRootFilesystem: true
capabilities:
  drop: [ALL]
{{- end }}

{{/*
Annotation that restarts a component's pods at the next upgrade after a Secret of the deployer's has changed, which they read at their
start. It holds no hash of a secret. Takes a list: the root, names of Secrets, which may be empty; without a cluster there is none.
*/}}
{{- define "stemyard.secretVersions" -}}
{{- $root := index . 0 -}}
{{- $versions := list -}}
{{- range rest . | compact | uniq | sortAlpha -}}
{{- with lookup "v1" "Secret" $root.Release.Namespace . -}}
{{- $versions = append $versions (printf "%s=%s" .metadata.name .metadata.resourceVersion) -}}
{{- end -}}
{{- end -}}
{{- with $versions }}
stemyard.dev/secrets: {{ join "," . | quote }}
{{- end }}
{{- end }}

{{/* Hash of rendered files, for a pod annotation that restarts the pods when one changes. Takes a list: the root, paths below templates/. */}}
{{- define "stemyard.checksum" -}}
{{- $root := index . 0 -}}
{{- $text := "" -}}
{{- range rest . -}}
{{- $text = printf "%s\n%s" $text (include (print $root.Template.BasePath "/" .) $root) -}}
{{- end -}}
{{- $text | sha256sum -}}
{{- end }}
