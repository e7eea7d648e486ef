{{/* Parts of NetworkPolicies. */}}

{{/*
Address ranges that are not public, as a JSON list of those of one IP version: private and link-local networks, the
metadata services of clouds (168.63.129.16 is Azure's) and networks that translate to IPv4. An IPv6-only cluster reaches
public IPv4 addresses through 64:ff9b::/96, so only its private parts are listed. Takes a list: the root, "4" or "6".
*/}}
{{- define "stemyard.privateCIDRs" -}}
{{- $ranges := list "10.0.0.0/8" "172.16.0.0/12" "192.168.0.0/16" "100.64.0.0/10" "169.254.0.0/16" "127.0.0.0/8" -}}
{{- $ranges = concat $ranges (list "168.63.129.16/32" "192.0.0.0/24" "192.88.99.0/24" "198.18.0.0/15" "240.0.0.0/4") -}}
{{- if eq (index . 1) "6" -}}
{{- $ranges = list "fc00::/7" "fe80::/10" "fec0::/10" "::/96" "2001::/32" "2002::/16" "64:ff9b:1::/48" -}}
{{- $ranges = concat $ranges (list "64:ff9b::a00:0/104" "64:ff9b::ac10:0/108" "64:ff9b::c0a8:0/112") -}}
{{- $ranges = concat $ranges (list "64:ff9b::7f00:0/104" "64:ff9b::6440:0/106" "64:ff9b::a9fe:0/112" "64:ff9b::a83f:8110/128") -}}
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
    {{- range .Values.networkPolicy.dns.ports }}
    - {port: {{ . }}, protocol: UDP}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
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

{{/* Port of a URL: the one it names, else its scheme's. */}}
{{- define "stemyard.urlPort" -}}
{{- $url := urlParse . -}}
{{- regexFind ":[0-9]+$" $url.host | trimPrefix ":" | default (ternary "80" "443" (eq $url.scheme "http")) -}}
{{- end }}

{{/* Egress rule: the object store. */}}
{{- define "stemyard.toStore" -}}
- to:
    {{- if .Values.store.enabled }}
    {{- include "stemyard.componentPeer" (list . "store") | nindent 4 }}
    {{- else if or .Values.objectStore.egressCIDRs .Values.objectStore.egressPeers }}
    {{- range .Values.objectStore.egressCIDRs }}
    - ipBlock: {cidr: {{ . | quote }}}
    {{- end }}
    {{- with .Values.objectStore.egressPeers }}
    {{- toYaml . | nindent 4 }}
    {{- end }}
    {{- else }}
    {{- include "stemyard.publicPeers" . | nindent 4 }}
    {{- end }}
  ports:
    - {port: {{ include "stemyard.storePodPort" . }}, protocol: TCP}
{{- end }}

{{/*
Egress rules: the token service of the object store's credentials, which may be at a private address, and the agent of EKS Pod
Identity on the node.
*/}}
{{- define "stemyard.toTokenService" -}}
{{- if include "stemyard.workloadIdentity" . -}}
- ports:
    - {port: {{ include "stemyard.urlPort" (.Values.objectStore.workloadIdentity.stsEndpoint | default "https://sts") }}, protocol: TCP}
- to:
    - ipBlock: {cidr: 169.254.170.23/32}
    - ipBlock: {cidr: "fd00:ec2::23/128"}
  ports:
    - {port: 80, protocol: TCP}
{{- end -}}
{{- end }}

{{/* Port of the object store as packets carry it: the pod's of the bundled one, else the endpoint's. */}}
{{- define "stemyard.storePodPort" -}}
{{- if .Values.store.enabled -}}
7070
{{- else -}}
{{- .Values.objectStore.egressPort | default (include "stemyard.urlPort" (include "stemyard.storeEndpoint" .)) -}}
{{- end -}}
{{- end }}

{{/* Egress rule: where clients find stems, when that is not where pods find them. */}}
{{- define "stemyard.toLinks" -}}
{{- with .Values.objectStore.publicDomain | default .Values.objectStore.publicEndpoint -}}
- ports:
    - {port: {{ include "stemyard.urlPort" (contains "://" . | ternary . (printf "https://%s" .)) }}, protocol: TCP}
{{- end -}}
{{- end }}

{{/* Egress rule: consumers of webhooks, at public addresses. */}}
{{- define "stemyard.toWebhooks" -}}
- to:
    {{- include "stemyard.publicPeers" . | nindent 4 }}
  ports:
    {{- range include "stemyard.webhookPorts" . | fromJsonArray }}
    - {port: {{ . }}, protocol: TCP}
    {{- end }}
{{- end }}

{{/* Ports that webhooks may go to, as a JSON list: those that anyone may name, and those of the addresses set here. */}}
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

{{/* "true" if Cilium lets separators through to an external store by its names, else empty. */}}
{{- define "stemyard.storeByName" -}}
{{- $cilium := .Values.networkPolicy.cilium -}}
{{- $known := or .Values.store.enabled .Values.objectStore.egressCIDRs .Values.objectStore.egressPeers -}}
{{- if and .Values.networkPolicy.enabled $cilium.enabled $cilium.storeByName (not $known) -}}
true
{{- end -}}
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

{{/* Port of an external Redis: the URL's, where it is not in a Secret of the deployer's. */}}
{{- define "stemyard.redisPort" -}}
{{- regexFind ":[0-9]+$" (urlParse .Values.redis.url).host | trimPrefix ":" | default (toString .Values.redis.port) -}}
{{- end }}

{{/* Egress rule: the collector of traces, wherever it is. */}}
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
