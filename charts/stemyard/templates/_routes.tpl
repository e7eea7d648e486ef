{{/* Routes from outside the cluster to a component. Each takes a list: the root, the component, its values. */}}

{{- define "stemyard.ingress" -}}
{{- $given := (index . 2).ingress -}}
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata:
  name: {{ include "stemyard.name" . }}
  labels:
    {{- include "stemyard.labels" . | nindent 4 }}
  {{- with $given.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  {{- with $given.className }}
  ingressClassName: {{ . }}
  {{- end }}
  {{- with $given.tlsSecret }}
  tls:
    - secretName: {{ . }}
      hosts: {{ $given.hosts | toJson }}
  {{- end }}
  rules:
    {{- range $given.hosts }}
    - host: {{ . | quote }}
      http:
        paths:
          - path: {{ $given.path | default "/" }}
            pathType: {{ $given.pathType | default "Prefix" }}
            backend:
              service:
                name: {{ include "stemyard.name" $ }}
                port: {number: {{ (index $ 2).service.port }}}
    {{- end }}
{{- end }}

{{/* Fields of a Service that say who may reach it, and over which IP. Takes the Service's values. */}}
{{- define "stemyard.serviceFields" -}}
{{- $fields := dict -}}
{{- range $name := list "loadBalancerSourceRanges" "ipFamilyPolicy" "ipFamilies" -}}
{{- with get $ $name -}}
{{- $_ := set $fields $name . -}}
{{- end -}}
{{- end -}}
{{- with $fields }}
{{- toYaml . }}
{{- end }}
{{- end }}

{{- define "stemyard.httpRoute" -}}
{{- $given := (index . 2).httpRoute -}}
apiVersion: gateway.networking.k8s.io/v1
kind: HTTPRoute
metadata:
  name: {{ include "stemyard.name" . }}
  labels:
    {{- include "stemyard.labels" . | nindent 4 }}
  {{- with $given.annotations }}
  annotations:
    {{- toYaml . | nindent 4 }}
  {{- end }}
spec:
  parentRefs:
    {{- toYaml $given.parentRefs | nindent 4 }}
  {{- with $given.hostnames }}
  hostnames: {{ toJson . }}
  {{- end }}
  rules:
    - matches:
        - path: {type: PathPrefix, value: /}
      backendRefs:
        - name: {{ include "stemyard.name" . }}
          port: {{ (index . 2).service.port }}
{{- end }}
