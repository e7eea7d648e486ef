{{/* The operator's environment variables about sources; YOUTUBE_ENABLED is shared with the API. */}}

{{- define "stemyard.sourceEnv" -}}
{{- $youtube := .Values.sources.youtube -}}
- name: YOUTUBE_COOKIES_SECRET
  value: {{ $youtube.cookiesSecret | quote }}
- name: YOUTUBE_PROXY_SECRET
  value: {{ $youtube.proxySecret | quote }}
- name: YOUTUBE_PO_TOKEN_URL
  value: {{ $youtube.poTokenUrl | quote }}
- name: YOUTUBE_OVERLAY_IMAGE
  value: {{ $youtube.overlay.image | quote }}
- name: YOUTUBE_OVERLAY_CLAIM
  value: {{ $youtube.overlay.claim | quote }}
- name: YOUTUBE_OVERLAY_LEAST
  value: {{ $youtube.overlay.leastVersion | quote }}
- name: YOUTUBE_OVERLAY_GREATEST
  value: {{ $youtube.overlay.greatestVersion | quote }}
- name: YOUTUBE_REQUEST_INTERVAL
  value: {{ $youtube.pauses.betweenRequests | quote }}
- name: YOUTUBE_DOWNLOAD_DELAY
  value: {{ $youtube.pauses.beforeDownload | quote }}
- name: YOUTUBE_DOWNLOAD_DELAY_MAX
  value: {{ $youtube.pauses.beforeDownloadMax | quote }}
- name: YOUTUBE_EXTRACTORS
  value: {{ .Values.sources.extractors | join "," | quote }}
{{- end }}
