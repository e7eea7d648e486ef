{{/* Invalid pod settings, of the chart's components and of separators in profiles. */}}

{{- define "stemyard.validatePods" -}}
{{- include "stemyard.validateLabels" (list "commonLabels" .Values.commonLabels) -}}
{{- range $part := list "api" "operator" "store" "valkey" "prePull" -}}
{{- $given := get $.Values $part -}}
{{- include "stemyard.validateLabels" (list (printf "%s.podLabels" $part) $given.podLabels) -}}
{{- if hasKey $given.podAnnotations "checksum/config" -}}
{{- fail (printf "%s.podAnnotations sets checksum/config, which the chart sets; remove it" $part) -}}
{{- end -}}
{{- range $name := list "prometheus.io/scrape" "prometheus.io/port" "prometheus.io/path" -}}
{{- if and (hasKey $given.podAnnotations $name) (dig "metrics" "annotations" false $given) -}}
{{- fail (printf "%s.podAnnotations sets %s, and so does %s.metrics.annotations=true; remove it, or set that to false" $part $name $part) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- include "stemyard.validateAccounts" . -}}
{{- include "stemyard.validateReplicated" (list "api" .Values.api (list "tmp" "keys" "redis-ca" "store-token" "stemyard-ca" "secrets")) -}}
{{- include "stemyard.validateReplicated" (list "operator" .Values.operator (list "tmp" "config" "webhooks" "redis-ca" "store-token" "stemyard-ca" "tls" "secrets")) -}}
{{- end }}

{{- define "stemyard.validateAccounts" -}}
{{- $owners := dict -}}
{{- range $part := list "api" "operator" "separator" "rebuild" -}}
{{- $given := get $.Values $part -}}
{{- with $given.serviceAccountName -}}
{{- if hasKey $owners . -}}
{{- fail (printf "%s.serviceAccountName and %s.serviceAccountName are both %q; each part has rights of its own, so name another" (get $owners .) $part .) -}}
{{- end -}}
{{- $_ := set $owners . $part -}}
{{- if $given.serviceAccountAnnotations -}}
{{- fail (printf "%s.serviceAccountAnnotations are for the chart's own ServiceAccount, but %s.serviceAccountName names another; annotate that one, and clear one of them" $part $part) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $_ := .Values.separator.podLabels -}}
{{- if or (hasPrefix "stemyard.dev/" $name) (hasPrefix "batch.kubernetes.io/" $name) (hasPrefix "app.kubernetes.io/" $name) -}}
{{- fail (printf "separator.podLabels sets %s, which Stemyard or Kubernetes sets; remove it" $name) -}}
{{- end -}}
{{- end -}}
{{- if and .Values.networkPolicy.cilium.enabled (not .Values.networkPolicy.enabled) -}}
{{- fail "networkPolicy.cilium.enabled=true adds to the NetworkPolicies, but networkPolicy.enabled=false; set it to true, or turn Cilium's off" -}}
{{- end -}}
{{- end }}

{{/* Takes a list: the value, the labels. */}}
{{- define "stemyard.validateLabels" -}}
{{- range $name, $_ := index . 1 -}}
{{- if or (hasPrefix "app.kubernetes.io/" $name) (eq $name "helm.sh/chart") -}}
{{- fail (printf "%s sets %s, which the chart sets; remove it" (index $ 0) $name) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Takes a list: the component, its values, the names of the chart's own volumes. */}}
{{- define "stemyard.validateReplicated" -}}
{{- $part := index . 0 -}}
{{- $given := index . 1 -}}
{{- $budget := $given.podDisruptionBudget -}}
{{- if and $budget.enabled (has (toString $budget.maxUnavailable) (list "0" "0%")) -}}
{{- fail (printf "%s.podDisruptionBudget.maxUnavailable=%v blocks the drain of every node with one of its pods; set 1" $part $budget.maxUnavailable) -}}
{{- end -}}
{{- $names := index . 2 -}}
{{- range $given.extraVolumes -}}
{{- if has .name $names -}}
{{- fail (printf "%s.extraVolumes has a volume named %q, which is already in use; choose another name" $part .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- range $given.extraVolumeMounts -}}
{{- if not (has .name $names) -}}
{{- fail (printf "%s.extraVolumeMounts mounts %q, but there is no volume of that name; add it to %s.extraVolumes" $part .name $part) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "stemyard.validateProfiles" -}}
{{- range $namespace, $allowed := .Values.admissionPolicies.namespaces -}}
{{- range list "queues" "priorityClasses" -}}
{{- if and (hasKey $allowed .) (not $.Values.kueue.enabled) -}}
{{- fail (printf "admissionPolicies.namespaces.%s limits %s of Kueue, but kueue.enabled=false; set it to true, or remove them" $namespace .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $profile := .Values.profiles -}}
{{- $value := printf "profiles.%s" $name -}}
{{- $profile = $profile | default dict -}}
{{- $fetch := $profile.fetch | default dict -}}
{{- $separate := $profile.separate | default dict -}}
{{- if and (or $profile.queueName $fetch.queueName $separate.queueName) (not $.Values.kueue.enabled) -}}
{{- fail (printf "%s names a Kueue queue, but kueue.enabled=false; set it to true, or clear queueName" $value) -}}
{{- end -}}
{{- if or $fetch.gpu $fetch.resourceClaims -}}
{{- fail (printf "%s.fetch requests a GPU, which fetch does not use; request it in %s.separate" $value $value) -}}
{{- end -}}
{{- if and $separate.gpu (eq ($separate.device | default "") "cpu") -}}
{{- fail (printf "%s.separate.device=cpu leaves the GPU of %s.separate.gpu unused; clear one of them" $value $value) -}}
{{- end -}}
{{- range $stage, $given := dict "fetch" $fetch "separate" $separate -}}
{{- include "stemyard.validatePodOptions" (list $ (printf "%s.%s" $value $stage) $stage $profile $given) -}}
{{- $limit := dig "resources" "limits" "memory" "" $given -}}
{{- $requested := dig "resources" "requests" "memory" "" $given -}}
{{- if include "stemyard.less" (list $limit $requested) -}}
{{- fail (printf "%s.%s.resources.requests.memory %v is more than its limit %v; the pod would be invalid" $value $stage (include "stemyard.quantity" $requested) (include "stemyard.quantity" $limit)) -}}
{{- end -}}
{{- if include "stemyard.less" (list ($given.maxMemory | default "") $limit) -}}
{{- fail (printf "%s.%s.maxMemory %v is less than the memory limit %v that the first attempt gets; raise it, or clear it" $value $stage $given.maxMemory (include "stemyard.quantity" $limit)) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/* Takes a list: the root, the value and name of the stage, the profile, the stage's own values. */}}
{{- define "stemyard.validatePodOptions" -}}
{{- $root := index . 0 -}}
{{- $value := index . 1 -}}
{{- $profile := index . 3 -}}
{{- $given := index . 4 -}}
{{- range $field := list "labels" "annotations" -}}
{{- range $name, $_ := merge (dict) (get $given $field | default dict) (get $profile $field | default dict) -}}
{{- if or (hasPrefix "stemyard.dev/" $name) (hasPrefix "batch.kubernetes.io/" $name) (has $name (list "app.kubernetes.io/managed-by" "app.kubernetes.io/component" "kueue.x-k8s.io/queue-name" "job-name" "controller-uid")) -}}
{{- fail (printf "%s gets %s in %s, which Stemyard or Kubernetes sets; remove it (queueName sets a queue)" $value $name $field) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- $names := list "work" "tmp" "desk-token" "models" "youtube-cookies" "youtube-proxy" "private" "ytdlp" "stemyard-ca" -}}
{{- if eq (index . 2) "fetch" -}}
{{- range $root.Values.fetch.extraVolumes -}}{{- $names = append $names .name -}}{{- end -}}
{{- end -}}
{{- $own := list -}}
{{- range concat ($profile.extraVolumes | default list) ($given.extraVolumes | default list) -}}
{{- if has .name (concat $names $own) -}}
{{- fail (printf "%s gets two volumes named %q; choose another name in extraVolumes" $value .name) -}}
{{- end -}}
{{- $own = append $own .name -}}
{{- $types := without (keys .) "name" -}}
{{- if or (ne (len $types) 1) (not (has (first $types) (list "configMap" "secret" "persistentVolumeClaim" "csi" "image"))) -}}
{{- fail (printf "%s: the extra volume %q must have one of configMap, secret, persistentVolumeClaim, csi, image" $value .name) -}}
{{- end -}}
{{- end -}}
{{- range concat ($profile.extraVolumeMounts | default list) ($given.extraVolumeMounts | default list) -}}
{{- if not (has .name $own) -}}
{{- fail (printf "%s mounts %q, but there is no volume of that name; add it to extraVolumes" $value .name) -}}
{{- end -}}
{{- end -}}
{{- if and (eq ($given.dnsPolicy | default $profile.dnsPolicy | default "") "None") (not (dig "nameservers" list ($given.dnsConfig | default $profile.dnsConfig | default dict))) -}}
{{- fail (printf "%s has dnsPolicy None, but no dnsConfig.nameservers; name a DNS server" $value) -}}
{{- end -}}
{{- end }}

{{- define "stemyard.validateSources" -}}
{{- $given := .Values.sources.youtube -}}
{{- range $name := list "cookiesSecret" "proxySecret" "poTokenUrl" -}}
{{- if and (get $given $name) (not $given.enabled) (not $.Values.sources.extractors) -}}
{{- fail (printf "sources.youtube.%s is set, but sources.youtube.enabled=false and sources.extractors is empty, so nothing uses it; clear it, or enable a site" $name) -}}
{{- end -}}
{{- end -}}
{{- with $given.overlay -}}
{{- if and .image .claim -}}
{{- fail "sources.youtube.overlay.image and sources.youtube.overlay.claim are mutually exclusive sources of yt-dlp; keep one" -}}
{{- end -}}
{{- range $name := list "image" "claim" -}}
{{- if and (get $given.overlay $name) (not $given.enabled) (not $.Values.sources.extractors) -}}
{{- fail (printf "sources.youtube.overlay.%s is set, but sources.youtube.enabled=false and sources.extractors is empty, so nothing uses it; clear it, or enable a site" $name) -}}
{{- end -}}
{{- end -}}
{{- if and (or .leastVersion .greatestVersion) (not .image) (not .claim) -}}
{{- fail "sources.youtube.overlay has a version, but neither image nor claim; set one of them" -}}
{{- end -}}
{{- end -}}
{{- with $given.pauses -}}
{{- if and .beforeDownloadMax (lt (float64 .beforeDownloadMax) (float64 .beforeDownload)) -}}
{{- fail (printf "sources.youtube.pauses.beforeDownloadMax %v is less than beforeDownload %v" .beforeDownloadMax .beforeDownload) -}}
{{- end -}}
{{- end -}}
{{- range .Values.sources.objects.prefixes -}}
{{- if and $.Values.install.id (eq (splitList "/" . | first) $.Values.install.id) -}}
{{- fail (printf "sources.objects.prefixes has %q, which is the prefix of this installation's own objects (install.id); choose another prefix" .) -}}
{{- end -}}
{{- end -}}
{{- $names := list "work" "tmp" "desk-token" "models" "youtube-cookies" "youtube-proxy" "private" "ytdlp" "stemyard-ca" -}}
{{- range .Values.fetch.extraVolumes -}}
{{- if has .name $names -}}
{{- fail (printf "fetch.extraVolumes has a volume named %q, which is already in use; choose another name" .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- end -}}
{{- end }}

{{/* A quantity as text; Helm reads numbers as floating point, which it prints in scientific notation. */}}
{{- define "stemyard.quantity" -}}
{{- if and (kindIs "float64" .) (eq . (floor .)) }}{{ int64 . }}{{ else }}{{ . }}{{ end -}}
{{- end }}

{{/* Bytes of a memory quantity in the notation of Kubernetes or Valkey. */}}
{{- define "stemyard.bytes" -}}
{{- $units := dict "" 1 "k" 1000 "M" 1000000 "G" 1000000000 "T" 1000000000000 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 "kb" 1024 "mb" 1048576 "gb" 1073741824 -}}
{{- $text := include "stemyard.quantity" . -}}
{{- mulf (regexFind "^[0-9.]+" $text | float64) (get $units (regexFind "[A-Za-z]*$" $text) | default 1) | int64 -}}
{{- end }}

{{/* "true" if the first memory quantity is less than the second, else empty, also if one is empty. Takes a list of both. */}}
{{- define "stemyard.less" -}}
{{- if and (index . 0) (index . 1) (lt (include "stemyard.bytes" (index . 0) | int64) (include "stemyard.bytes" (index . 1) | int64)) -}}
true
{{- end -}}
{{- end }}
