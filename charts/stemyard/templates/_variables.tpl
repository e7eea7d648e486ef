{{/*
Environment variables of the API and the operator, each with the value that sets it; "" if no value does.
Setting one by extraEnv as well would duplicate it in the pod, so that is refused.
*/}}

{{- define "stemyard.variables" -}}
api:
  API_KEYS_FILE: api.keys.existingSecret
  API_REPLICAS: api.replicas
  API_SECRET_KEY: api.existingSecret
  BODY_TIMEOUT_SECONDS: api.connections.bodyTimeoutSeconds
  CLOUDFLARE_API_TOKEN: api.cloudflareKV.existingSecret
  CLOUDFLARE_KV_NAMESPACE_ID: api.cloudflareKV.namespaceId
  CORS_ALLOWED_ORIGINS: api.corsAllowedOrigins
  HEADER_TIMEOUT_SECONDS: api.connections.headerTimeoutSeconds
  HEALTH_PORT: ""
  IDLE_TIMEOUT_SECONDS: api.connections.idleTimeoutSeconds
  MAX_CONNECTIONS: api.connections.max
  MAX_CONNECTIONS_PER_ADDRESS: api.connections.maxPerAddress
  MAX_DOWNLOADS: api.maxDownloads
  PORT: ""
  QUEUE_NAMES: api.queueNames
  QUOTA_CONCURRENT: api.quotas.concurrent
  QUOTA_MINUTES_PER_DAY: api.quotas.minutesPerDay
  QUOTA_STREAMS: api.quotas.streams
  QUOTA_UPLOAD_MB_PER_DAY: api.quotas.uploadMbPerDay
  RATE_LIMIT_ANONYMOUS_PER_MINUTE: api.rateLimits.anonymousPerMinute
  RATE_LIMIT_READS_PER_MINUTE: api.rateLimits.readsPerMinute
  RATE_LIMIT_SUBMITS_PER_MINUTE: api.rateLimits.submitsPerMinute
  RESULT_SHARING: api.resultSharing
  S3_WORKLOAD_IDENTITY: objectStore.workloadIdentity.enabled
  SHARE_MAX_SECONDS: api.shares.maxSeconds
  SHARE_SECRET: api.existingSecret
  SHARE_SECRET_PREVIOUS: api.existingSecret
  STEMYARD_INSECURE_DEV: api.insecureDev
  STEMYARD_NAMESPACE: api.namespace
  TRUSTED_PROXIES: api.trustedProxies
  WEBHOOKS_PER_KEY: webhooks.maxPerKey
  WEB_CONTACT: api.page.contact
  WEB_DOCS_URL: api.page.docsUrl
  WEB_ENABLED: api.page.enabled
operator:
  FETCH_HOST_USERS: fetch.hostUsers
  POD_SECURITY_CONTEXT: podSecurity.context
  SEPARATOR_POD_ANNOTATIONS: separator.podAnnotations
  SEPARATOR_POD_LABELS: separator.podLabels
  API_NAMESPACE: api.namespace
  DESK_PORT: ""
  DESK_TLS_DIR: tls.desk.enabled
  DESK_URL: ""
  FETCH_SPACING_SECONDS: fetch.spacingSeconds
  HEALTH_PORT: ""
  IMAGE_PULL_POLICY: images.pullPolicy
  IMAGE_PULL_SECRETS: images.pullSecrets
  KUEUE_API_VERSION: kueue.apiVersion
  KUEUE_ENABLED: kueue.enabled
  LEASE_NAME: ""
  MAX_ACTIVE: maxActive
  MAX_ACTIVE_FETCH: maxActiveFetch
  MAX_ACTIVE_FETCH_PER_HOST: fetch.maxActivePerHost
  MAX_ACTIVE_FETCH_PER_NAMESPACE: maxActiveFetchPerNamespace
  MAX_ACTIVE_PER_NAMESPACE: maxActivePerNamespace
  MAX_DEADLINE_FETCH: maxDeadlines.fetch
  MAX_DEADLINE_QUEUE: maxDeadlines.queue
  MAX_DEADLINE_SEPARATE: maxDeadlines.separate
  MAX_DEADLINE_START: maxDeadlines.start
  MODEL_CLAIM: models.claim
  MODEL_IMAGE: models.image
  POD_NAME: ""
  POD_NAMESPACE: ""
  PROFILES_FILE: profiles
  REQUEUE_BASE_SECONDS: unscheduled.backoffBaseSeconds
  REQUEUE_MAX_SECONDS: unscheduled.backoffMaxSeconds
  RESYNC_SECONDS: operator.resyncSeconds
  RETRY_BASE_SECONDS: operator.retry.baseSeconds
  RETRY_MAX_SECONDS: operator.retry.maxSeconds
  SEPARATOR_CA_CONFIG_MAP: tls.caConfigMap
  SEPARATOR_CA_SECRETS: tls.desk.existingSecret
  SECRETS_AS_FILES: secrets.asFiles
  SEPARATOR_EXTRA_ENV: separator.extraEnv
  SEPARATOR_FETCH_VOLUMES_FILE: fetch.extraVolumes
  SEPARATOR_IMAGE_CPU: images.separatorCpu
  SEPARATOR_IMAGE_CUDA: images.separatorCuda
  SEPARATOR_SERVICE_ACCOUNT: ""
  SWEEP_DRY_RUN: sweep.dryRun
  SWEEP_FORCE: sweep.force
  SWEEP_SECONDS: sweep.seconds
  TTL_CANCELLED_SECONDS: ttl.cancelledSeconds
  TTL_FAILED_SECONDS: ttl.failedSeconds
  UNSCHEDULED_TIMEOUT_SECONDS: unscheduled.timeoutSeconds
  WATCH_NAMESPACES: watchNamespaces
  WEBHOOK_CONCURRENCY: webhooks.concurrency
  WEBHOOK_CONCURRENCY_PER_TARGET: webhooks.concurrencyPerTarget
  WEBHOOK_EVENTS: webhooks.events
  WEBHOOK_PROXY_URL: webhooks.proxyUrl
  WEBHOOK_SECRETS_DIR: webhooks.existingSecret
  WEBHOOK_TIMEOUT_SECONDS: webhooks.timeoutSeconds
  WORKER_CONCURRENCY: maxActive
  YOUTUBE_COOKIES_SECRET: sources.youtube.cookiesSecret
  YOUTUBE_DOWNLOAD_DELAY: sources.youtube.pauses.beforeDownload
  YOUTUBE_DOWNLOAD_DELAY_MAX: sources.youtube.pauses.beforeDownloadMax
  YOUTUBE_EXTRACTORS: sources.extractors
  YOUTUBE_OVERLAY_CLAIM: sources.youtube.overlay.claim
  YOUTUBE_OVERLAY_GREATEST: sources.youtube.overlay.greatestVersion
  YOUTUBE_OVERLAY_IMAGE: sources.youtube.overlay.image
  YOUTUBE_OVERLAY_LEAST: sources.youtube.overlay.leastVersion
  YOUTUBE_PO_TOKEN_URL: sources.youtube.poTokenUrl
  YOUTUBE_PROXY_SECRET: sources.youtube.proxySecret
  YOUTUBE_REQUEST_INTERVAL: sources.youtube.pauses.betweenRequests
shared:
  AWS_ENDPOINT_URL_STS: objectStore.workloadIdentity.stsEndpoint
  AWS_ROLE_ARN: objectStore.workloadIdentity.roleArn
  AWS_WEB_IDENTITY_TOKEN_FILE: objectStore.workloadIdentity.roleArn
  CLOUDFLARE_ACCOUNT_ID: objectStore.cloudflareAccountId
  DEFAULT_MODEL: models.default
  ENABLED_MODELS: models.enabled
  MAX_DURATION_SECONDS: limits.maxDurationSeconds
  MAX_FILE_SIZE_MB: limits.maxFileSizeMb
  OBJECT_SOURCE_PREFIXES: sources.objects.prefixes
  OTEL_EXPORTER_OTLP_ENDPOINT: tracing.endpoint
  R2_ACCESS_KEY_ID: objectStore.existingSecret
  R2_BUCKET: objectStore.bucket
  R2_PUBLIC_DOMAIN: objectStore.publicDomain
  R2_SECRET_ACCESS_KEY: objectStore.existingSecret
  REDIS_CA_FILE: redis.caSecret
  REDIS_URL: redis.existingSecret
  S3_CA_FILE: tls.store.enabled
  S3_ENDPOINT_URL: objectStore.endpoint
  S3_PUBLIC_ENDPOINT_URL: objectStore.publicEndpoint
  S3_REGION: objectStore.region
  STEMYARD_INSTALL_ID: install.id
  STEMYARD_SECRETS_DIR: secrets.asFiles
  STEMYARD_SECRET_FILES: ""
  STEMYARD_SECRET_VARIABLES: ""
  WEBHOOK_ALLOWED_ORIGINS: webhooks.allowedOrigins
  WEBHOOK_ALLOW_HTTP: webhooks.allowHttp
  WEBHOOK_DENIED_CIDRS: clusterCIDRs
  WEBHOOK_MASTER_SECRET: api.existingSecret
  WEBHOOK_MASTER_SECRET_PREVIOUS: api.existingSecret
  WEBHOOK_PORTS: webhooks.ports
  WEBHOOK_URL: webhooks.url
  YOUTUBE_ENABLED: sources.youtube.enabled
{{- end }}

{{- define "stemyard.validateVariables" -}}
{{- $variables := include "stemyard.variables" . | fromYaml -}}
{{- range $part := list "api" "operator" -}}
{{- $known := merge (dict) (get $variables $part) $variables.shared -}}
{{- $names := list -}}
{{- range (get $.Values $part).extraEnv -}}
{{- $name := .name -}}
{{- if has $name $names -}}
{{- fail (printf "%s.extraEnv sets %s twice; keep one" $part $name) -}}
{{- end -}}
{{- $names = append $names $name -}}
{{- if hasKey $known $name -}}
{{- with get $known $name -}}
{{- fail (printf "%s.extraEnv sets %s, which %s sets; set that instead" $part $name .) -}}
{{- end -}}
{{- fail (printf "%s.extraEnv sets %s, which the chart sets; remove it" $part $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end }}
