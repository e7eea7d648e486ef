{{/* TLS between the parts of the installation. */}}

{{/* Secret of a part's certificate: the deployer's, or cert-manager's. Takes a list: the root, the part. */}}
{{- define "stemyard.tlsSecret" -}}
{{- (get (index . 0).Values.tls (index . 1)).existingSecret | default (printf "%s-tls" (include "stemyard.name" .)) -}}
{{- end }}

{{/* Volume of a part's certificate and its key. Takes a list: the root, the part. */}}
{{- define "stemyard.tlsVolume" -}}
- name: tls
  secret:
    secretName: {{ include "stemyard.tlsSecret" . }}
    defaultMode: 0440
    items: [{key: tls.crt, path: tls.crt}, {key: tls.key, path: tls.key}]
    optional: {{ eq (index . 1) "desk" }}
{{- end }}

{{/* Name of the ConfigMap of the CAs; empty if each Secret has its own. */}}
{{- define "stemyard.caConfigMap" -}}
{{- if .Values.tls.ca }}{{ include "stemyard.name" (list . "ca") }}{{ else }}{{ .Values.tls.caConfigMap }}{{ end -}}
{{- end }}

{{/* Parts whose certificates the API and the operator verify, as a JSON list. */}}
{{- define "stemyard.caParts" -}}
{{- $parts := list -}}
{{- if .Values.tls.store.enabled }}{{ $parts = append $parts "store" }}{{ end -}}
{{- if .Values.tls.valkey.enabled }}{{ $parts = append $parts "valkey" }}{{ end -}}
{{- toJson $parts -}}
{{- end }}

{{/* Where the CA of a part is mounted. Takes the part. */}}
{{- define "stemyard.caFile" -}}
/etc/stemyard-ca/{{ . }}/ca.crt
{{- end }}

{{/* Mount and volume of these CAs. */}}
{{- define "stemyard.caMount" -}}
{{- if include "stemyard.caParts" . | fromJsonArray }}
- {name: stemyard-ca, mountPath: /etc/stemyard-ca, readOnly: true}
{{- end }}
{{- end }}
{{- define "stemyard.caVolume" -}}
{{- $root := . -}}
{{- with include "stemyard.caParts" . | fromJsonArray }}
- name: stemyard-ca
  projected:
    sources:
      {{- range . }}
      {{- $items := printf "[{key: ca.crt, path: %s/ca.crt}]" . }}
      {{- with include "stemyard.caConfigMap" $root }}
      - configMap: {name: {{ . }}, items: {{ $items }}}
      {{- else }}
      - secret: {name: {{ include "stemyard.tlsSecret" (list $root .) }}, items: {{ $items }}, optional: true}
      {{- end }}
      {{- end }}
{{- end }}
{{- end }}

{{/* Variables of the operator for the desk's certificate, and the CAs that it mounts into separators' pods. */}}
{{- define "stemyard.tlsEnv" -}}
{{- if .Values.tls.desk.enabled }}
- {name: DESK_TLS_DIR, value: /etc/stemyard-desk-tls}
{{- end }}
{{- if or .Values.tls.desk.enabled .Values.tls.store.enabled }}
{{- with include "stemyard.caConfigMap" . }}
- {name: SEPARATOR_CA_CONFIG_MAP, value: {{ . }}}
{{- else }}
{{- $secrets := list -}}
{{- range list "desk" "store" -}}
{{- if (get $.Values.tls .).enabled }}{{ $secrets = append $secrets (include "stemyard.tlsSecret" (list $ .)) }}{{ end -}}
{{- end }}
- {name: SEPARATOR_CA_SECRETS, value: {{ uniq $secrets | join "," | quote }}}
{{- end }}
{{- end }}
{{- end }}

{{/* Files of the operator from Secrets. */}}
{{- define "stemyard.operatorFiles" -}}
{{- $files := include "stemyard.sharedFiles" . | fromJson -}}
{{- if .Values.tls.desk.enabled -}}
{{- range list "tls.crt" "tls.key" -}}
{{- $_ := set $files (printf "/etc/stemyard-desk-tls/%s" .) (include "stemyard.tlsSecret" (list $ "desk")) -}}
{{- end -}}
{{- end -}}
{{- toJson $files -}}
{{- end }}

{{/* A part's Certificate. Takes a list: the root, the part. */}}
{{- define "stemyard.certificate" -}}
{{- $root := index . 0 -}}
{{- $part := index . 1 -}}
{{- $given := $root.Values.tls.certManager -}}
{{- $name := include "stemyard.name" . -}}
{{- $names := list $name (printf "%s.%s" $name $root.Release.Namespace) (printf "%s.%s.svc" $name $root.Release.Namespace) (include "stemyard.host" .) -}}
{{- $addresses := list -}}
{{- if and (eq $part "store") $root.Values.objectStore.publicEndpoint -}}
{{- $public := regexReplaceAll ":[0-9]+$" (urlParse $root.Values.objectStore.publicEndpoint).host "" | trimPrefix "[" | trimSuffix "]" -}}
{{- if or (contains ":" $public) (regexMatch "^[0-9.]+$" $public) -}}
{{- $addresses = append $addresses $public -}}
{{- else -}}
{{- $names = append $names $public -}}
{{- end -}}
{{- end -}}
apiVersion: cert-manager.io/v1
kind: Certificate
metadata:
  name: {{ $name }}
  labels:
    {{- include "stemyard.labels" . | nindent 4 }}
spec:
  secretName: {{ include "stemyard.tlsSecret" . }}
  duration: {{ $given.duration }}
  renewBefore: {{ $given.renewBefore }}
  privateKey: {algorithm: ECDSA, size: 256, rotationPolicy: Always}
  usages: [digital signature, server auth]
  dnsNames: {{ uniq $names | toJson }}
  {{- with $addresses }}
  ipAddresses: {{ toJson . }}
  {{- end }}
  issuerRef:
    {{- with $given.issuerRef }}
    name: {{ .name }}
    kind: {{ .kind | default "Issuer" }}
    group: {{ .group | default "cert-manager.io" }}
    {{- else }}
    name: {{ include "stemyard.name" (list $root "ca") }}
    kind: Issuer
    group: cert-manager.io
    {{- end }}
{{- end }}
