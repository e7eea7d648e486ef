{{/* Parts of NetworkPolicies. */}}

{{/* Private address ranges of one IP version, as a JSON list. Takes a list: the root, "4" or "6". */}}
{{- define "stemyard.privateCIDRs" -}}
{{- $ranges := list "10.0.0.0/8" "172.16.0.0/12" "192.168.0.0/16" "100.64.0.0/10" "169.254.0.0/16" -}}
{{- if eq (index . 1) "6" -}}
{{- $ranges = list "fc00::/7" "fe80::/10" -}}
{{- end -}}
{{- range (index . 0).Values.clusterCIDRs -}}
{{- if eq (contains ":" .) (eq (index $ 1) "6") -}}
{{- $ranges = append $ranges . -}}
{{- end -}}
{{- end -}}
{{- $ranges | uniq | toJson -}}
{{- end }}

{{/* Peers: every public address. */}}
{{- define "stemyard.publicPeers" -}}
- ipBlock:
    cidr: 0.0.0.0/0
    except: {{ include "stemyard.privateCIDRs" (list . "4") }}
- ipBlock:
    cidr: ::/0
    except: {{ include "stemyard.privateCIDRs" (list . "6") }}
{{- end }}

{{/* Egress rule: the cluster's DNS. */}}
{{- define "stemyard.toDns" -}}
- to:
    - namespaceSelector:
        matchLabels: {kubernetes.io/metadata.name: {{ .Values.networkPolicy.dns.namespace }}}
      podSelector:
        matchLabels:
          {{- toYaml .Values.networkPolicy.dns.podLabels | nindent 10 }}
    {{- range .Values.networkPolicy.dns.cidrs }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  ports:
    - {port: 53, protocol: UDP}
    - {port: 53, protocol: TCP}
{{- end }}

{{/* Peer: one component's pods, from any namespace. Takes a list: the root, the component. */}}
{{- define "stemyard.componentPeer" -}}
- namespaceSelector:
    matchLabels: {kubernetes.io/metadata.name: {{ (index . 0).Release.Namespace }}}
  podSelector:
    matchLabels:
      {{- include "stemyard.selectorLabels" . | nindent 6 }}
{{- end }}

{{/* Peer: the separator's pods in every watched namespace. */}}
{{- define "stemyard.separatorPeer" -}}
- namespaceSelector:
    matchExpressions:
      - {key: kubernetes.io/metadata.name, operator: In, values: {{ include "stemyard.watchNamespaces" . }}}
  podSelector:
    matchExpressions:
      - {key: stemyard.dev/stage, operator: Exists}
{{- end }}

{{/* Port of a URL; by default that of its scheme. */}}
{{- define "stemyard.urlPort" -}}
{{- $url := urlParse . -}}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "80" "443" (eq $url.scheme "http")) -}}
{{- end }}

{{/* Egress rule: the object store. */}}
{{- define "stemyard.toStore" -}}
- to:
    {{- if .Values.store.enabled }}
    {{- include "stemyard.componentPeer" (list . "store") | nindent 4 }}
    {{- else if .Values.objectStore.egressCIDRs }}
    {{- range .Values.objectStore.egressCIDRs }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
    {{- else }}
    {{- include "stemyard.publicPeers" . | nindent 4 }}
    {{- end }}
  ports:
    - {port: {{ include "stemyard.storePodPort" . }}, protocol: TCP}
{{- end }}

{{/* Destination port of packets to the object store: the pod's port of the bundled one, else the endpoint's. */}}
{{- define "stemyard.storePodPort" -}}
{{- if .Values.store.enabled -}}
7070
{{- else -}}
{{- include "stemyard.urlPort" (include "stemyard.storeEndpoint" .) -}}
{{- end -}}
{{- end }}

{{/* Egress rule: the public endpoint of the stems, if it differs from the pods'. */}}
{{- define "stemyard.toLinks" -}}
{{- with .Values.objectStore.publicDomain | default .Values.objectStore.publicEndpoint -}}
- ports:
    - {port: {{ include "stemyard.urlPort" (contains "://" . | ternary . (printf "https://%s" .)) }}, protocol: TCP}
{{- end -}}
{{- end }}

{{/* Egress rule: webhook consumers at public addresses. */}}
{{- define "stemyard.toWebhooks" -}}
- to:
    {{- include "stemyard.publicPeers" . | nindent 4 }}
  ports:
    {{- range include "stemyard.webhookPorts" . | fromJsonArray }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end }}

{{/* Ports of webhook URLs, as a JSON list: those allowed in requests, and those of the URLs in the values. */}}
{{- define "stemyard.webhookPorts" -}}
{{- $ports := .Values.webhooks.ports | default (ternary (list 80 443) (list 443) .Values.webhooks.allowHttp) -}}
{{- $ports = $ports | toStrings -}}
{{- range concat .Values.webhooks.allowedOrigins (list .Values.webhooks.url .Values.webhooks.proxyUrl) | compact -}}
{{- $ports = append $ports (include "stemyard.urlPort" .) -}}
{{- end -}}
{{- $numbers := list -}}
{{- range $ports | uniq | sortAlpha -}}
{{- $numbers = append $numbers (int .) -}}
{{- end -}}
{{- $numbers | toJson -}}
{{- end }}

{{/* Egress rule: Redis. */}}
{{- define "stemyard.toRedis" -}}
{{- if .Values.valkey.enabled -}}
- to:
    {{- include "stemyard.componentPeer" (list . "valkey") | nindent 4 }}
  ports:
    - {port: 6379, protocol: TCP}
{{- else -}}
- ports:
    - {port: {{ include "stemyard.redisPort" . }}, protocol: TCP}
{{- end -}}
{{- end }}

{{/* Port of an external Redis: that of redis.url, else redis.port. */}}
{{- define "stemyard.redisPort" -}}
{{- regexFind ":[0-9]+$" (urlParse .Values.redis.url).host | trimPrefix ":" | default (toString .Values.redis.port) -}}
{{- end }}

{{/* Egress rule: the trace collector, at any address. */}}
{{- define "stemyard.toTracing" -}}
{{- with .Values.tracing.endpoint -}}
- ports:
    - {port: {{ include "stemyard.urlPort" . }}, protocol: TCP}
{{- end -}}
{{- end }}

{{/* Egress rule: the Kubernetes API. */}}
{{- define "stemyard.toKubernetes" -}}
- to:
    {{- range .Values.networkPolicy.kubernetesApiCIDRs }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
  ports:
    {{- range .Values.networkPolicy.kubernetesApiPorts }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end }}
