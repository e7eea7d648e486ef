{{/* Invalid combinations of values; each fails the installation with a sentence that names the value to change. */}}

{{- define "stemyard.validate" -}}
{{- include "stemyard.validateStore" . -}}
{{- include "stemyard.validateRedis" . -}}
{{- include "stemyard.validateTls" . -}}
{{- include "stemyard.validateScope" . -}}
{{- include "stemyard.validateWebhooks" . -}}
{{- include "stemyard.validateApi" . -}}
{{- include "stemyard.validateRoutes" (list . "api") -}}
{{- include "stemyard.validateRoutes" (list . "store") -}}
{{- include "stemyard.validateVolumes" . -}}
{{- include "stemyard.validateAmounts" . -}}
{{- include "stemyard.validateVariables" . -}}
{{- include "stemyard.validatePods" . -}}
{{- include "stemyard.validateProfiles" . -}}
{{- include "stemyard.validateSources" . -}}
{{- include "stemyard.validateSecrets" . -}}
{{- if and .Values.monitoring.podMonitor.enabled .Values.monitoring.serviceMonitor.enabled -}}
{{- fail "monitoring.podMonitor.enabled and monitoring.serviceMonitor.enabled would scrape every pod twice; keep one" -}}
{{- end -}}
{{- end }}

{{- define "stemyard.validateApi" -}}
{{- $given := .Values.api -}}
{{- if and $given.secretKey $given.existingSecret -}}
{{- fail "api.secretKey and api.existingSecret are both set; keep one" -}}
{{- end -}}
{{- if and $given.insecureDev (or $given.secretKey $given.existingSecret $given.keys.existingSecret) -}}
{{- fail "api.insecureDev=true disables authentication, but api.secretKey, api.existingSecret or api.keys.existingSecret names a key; set api.insecureDev=false" -}}
{{- end -}}
{{- if and $given.insecureDev (or $given.ingress.enabled $given.httpRoute.enabled (eq $given.service.type "LoadBalancer")) -}}
{{- fail "api.insecureDev=true lets anyone in without a key, but api.ingress, api.httpRoute or api.service.type=LoadBalancer opens the API to others; set api.insecureDev=false, or turn that off" -}}
{{- end -}}
{{- if and $given.insecureDev (has "*" $given.corsAllowedOrigins) -}}
{{- fail "api.insecureDev=true lets anyone in without a key, and api.corsAllowedOrigins has *, so every web page could use the API; name the origins, or set api.insecureDev=false" -}}
{{- end -}}
{{- if and $given.insecureDev (eq $given.resultSharing "per-key") -}}
{{- fail "api.resultSharing=per-key requires API keys, but api.insecureDev=true disables them; change one" -}}
{{- end -}}
{{- if and $given.cloudflareKV.namespaceId (not $given.cloudflareKV.existingSecret) -}}
{{- fail "api.cloudflareKV.existingSecret is empty; name a Secret with the key CLOUDFLARE_API_TOKEN, or clear api.cloudflareKV.namespaceId" -}}
{{- end -}}
{{- if and $given.cloudflareKV.namespaceId (not .Values.objectStore.cloudflareAccountId) -}}
{{- fail "api.cloudflareKV.namespaceId requires the account of the namespace; set objectStore.cloudflareAccountId, or clear it" -}}
{{- end -}}
{{- $scale := $given.autoscaling -}}
{{- if and $scale.enabled (gt (int $scale.minReplicas) (int $scale.maxReplicas)) -}}
{{- fail (printf "api.autoscaling.minReplicas %v is more than api.autoscaling.maxReplicas %v" $scale.minReplicas $scale.maxReplicas) -}}
{{- end -}}
{{- if and $scale.enabled (not (dig "requests" "cpu" "" $given.resources)) -}}
{{- fail "api.autoscaling scales by a percentage of the CPU request, but api.resources.requests.cpu is empty; set it" -}}
{{- end -}}
{{- if lt (int $given.terminationGracePeriodSeconds) 26 -}}
{{- fail (printf "api.terminationGracePeriodSeconds %v is too short: load balancers are given 5 s and requests in flight 20 s; set 26 or more" $given.terminationGracePeriodSeconds) -}}
{{- end -}}
{{- end }}

{{/* Takes a list: the root, the component. */}}
{{- define "stemyard.validateRoutes" -}}
{{- $name := index . 1 -}}
{{- $given := get (index . 0).Values $name -}}
{{- if and $given.service.nodePort (ne $given.service.type "NodePort") (ne $given.service.type "LoadBalancer") -}}
{{- fail (printf "%s.service.nodePort is for %s.service.type NodePort or LoadBalancer; set the type, or clear the port" $name $name) -}}
{{- end -}}
{{- if and $given.service.loadBalancerSourceRanges (ne $given.service.type "LoadBalancer") -}}
{{- fail (printf "%s.service.loadBalancerSourceRanges is for %s.service.type LoadBalancer, but it is %s; set the type, or clear the ranges" $name $name $given.service.type) -}}
{{- end -}}
{{- if and (eq $given.service.ipFamilyPolicy "SingleStack") (gt (len $given.service.ipFamilies) 1) -}}
{{- fail (printf "%s.service.ipFamilies has two families, but %s.service.ipFamilyPolicy is SingleStack; name one family, or set PreferDualStack" $name $name) -}}
{{- end -}}
{{- if and (not $given.service.ipFamilyPolicy) (gt (len $given.service.ipFamilies) 1) -}}
{{- fail (printf "%s.service.ipFamilies has two families, but %s.service.ipFamilyPolicy is empty, which means SingleStack; set PreferDualStack or RequireDualStack" $name $name) -}}
{{- end -}}
{{- if and $given.ingress.enabled (not $given.ingress.hosts) -}}
{{- fail (printf "%s.ingress.hosts is empty; name a host, or set %s.ingress.enabled=false" $name $name) -}}
{{- end -}}
{{- if and $given.httpRoute.enabled (not $given.httpRoute.parentRefs) -}}
{{- fail (printf "%s.httpRoute.parentRefs is empty; name a gateway, or set %s.httpRoute.enabled=false" $name $name) -}}
{{- end -}}
{{- if eq $name "store" -}}
{{- $api := (index . 0).Values.api -}}
{{- if and $given.enabled $given.service.nodePort (eq (int $given.service.nodePort) (int $api.service.nodePort)) -}}
{{- fail (printf "api.service.nodePort and store.service.nodePort are both %v; a node port belongs to one Service, so change one" $given.service.nodePort) -}}
{{- end -}}
{{- range $given.ingress.hosts -}}
{{- if and $given.ingress.enabled $api.ingress.enabled (has . $api.ingress.hosts) -}}
{{- fail (printf "api.ingress.hosts and store.ingress.hosts both have %q; each needs its own host, as both serve every path" .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and (eq $name "store") (not $given.enabled) (or $given.ingress.enabled $given.httpRoute.enabled) -}}
{{- fail "store.ingress or store.httpRoute leads to the bundled store, which is disabled; set store.enabled=true, or turn them off" -}}
{{- end -}}
{{- end }}

{{- define "stemyard.validateVolumes" -}}
{{- range $name := list "store" "valkey" -}}
{{- $given := get $.Values $name -}}
{{- if and $given.persistence.existingClaim (not (and $given.enabled $given.persistence.enabled)) -}}
{{- fail (printf "%s.persistence.existingClaim names a claim that is not used; set %s.enabled and %s.persistence.enabled, or clear it" $name $name $name) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "stemyard.validateAmounts" -}}
{{- if and .Values.rebuild.enabled (not .Values.install.id) -}}
{{- fail "rebuild.enabled=true restores one installation's results, but install.id is empty; set the id that prefixes the bucket's keys" -}}
{{- end -}}
{{- if gt (int .Values.unscheduled.backoffBaseSeconds) (int .Values.unscheduled.backoffMaxSeconds) -}}
{{- fail (printf "unscheduled.backoffBaseSeconds %v is more than unscheduled.backoffMaxSeconds %v" .Values.unscheduled.backoffBaseSeconds .Values.unscheduled.backoffMaxSeconds) -}}
{{- end -}}
{{- if and .Values.sweep.force (ne (toDate "2006-01-02" .Values.sweep.force | date "2006-01-02") .Values.sweep.force) -}}
{{- fail (printf "sweep.force %q is not a date of the calendar; write the day (YYYY-MM-DD, UTC) on which a sweep may remove many tracks" .Values.sweep.force) -}}
{{- end -}}
{{- range $name, $profile := .Values.profiles -}}
{{- if gt (int ($profile | default dict).maxActive) (int $.Values.maxActive) -}}
{{- fail (printf "profiles.%s.maxActive %v is more than maxActive %v, which counts all profiles" $name $profile.maxActive $.Values.maxActive) -}}
{{- end -}}
{{- end -}}
{{- if gt (int .Values.maxActiveFetchPerNamespace) (int .Values.maxActiveFetch) -}}
{{- fail (printf "maxActiveFetchPerNamespace %v is more than maxActiveFetch %v, which counts all namespaces" .Values.maxActiveFetchPerNamespace .Values.maxActiveFetch) -}}
{{- end -}}
{{- if gt (int .Values.maxActivePerNamespace) (int .Values.maxActive) -}}
{{- fail (printf "maxActivePerNamespace %v is more than maxActive %v, which counts all namespaces" .Values.maxActivePerNamespace .Values.maxActive) -}}
{{- end -}}
{{- with .Values.operator.retry -}}
{{- if gt (int .baseSeconds) (int .maxSeconds) -}}
{{- fail (printf "operator.retry.baseSeconds %v is more than operator.retry.maxSeconds %v" .baseSeconds .maxSeconds) -}}
{{- end -}}
{{- end -}}
{{- if gt (int .Values.fetch.maxActivePerHost) (int .Values.maxActiveFetch) -}}
{{- fail (printf "fetch.maxActivePerHost %v is more than maxActiveFetch %v, which counts all hosts" .Values.fetch.maxActivePerHost .Values.maxActiveFetch) -}}
{{- end -}}
{{- if and .Values.valkey.enabled (include "stemyard.less" (list (dig "limits" "memory" "" .Values.valkey.resources) .Values.valkey.maxMemory)) -}}
{{- fail (printf "valkey.maxMemory %s is more than valkey.resources.limits.memory %v, so the server would be killed before it evicts keys; lower the first, or raise the second" .Values.valkey.maxMemory (include "stemyard.quantity" .Values.valkey.resources.limits.memory)) -}}
{{- end -}}
{{- if and .Values.helmTest.model (not (has .Values.helmTest.model (include "stemyard.models" . | fromJsonArray))) -}}
{{- fail (printf "helmTest.model %q is not in models.enabled; add it, or clear helmTest.model" .Values.helmTest.model) -}}
{{- end -}}
{{- end }}

{{- define "stemyard.validateStore" -}}
{{- $given := .Values.objectStore -}}
{{- if and .Values.store.enabled (or $given.endpoint $given.cloudflareAccountId) -}}
{{- fail "store.enabled=true runs a bundled store, but objectStore.endpoint or objectStore.cloudflareAccountId names another; clear these or set store.enabled=false" -}}
{{- end -}}
{{- if and $given.egressPort (not (or $given.egressPeers $given.egressCIDRs)) -}}
{{- fail "objectStore.egressPort is the port of the store's pods, but objectStore.egressPeers is empty; select these pods, or clear it" -}}
{{- end -}}
{{- if and .Values.store.enabled $given.egressPeers -}}
{{- fail "objectStore.egressPeers are pods of another store, but store.enabled=true runs a bundled one; clear them" -}}
{{- end -}}
{{- if and .Values.store.enabled $given.egressCIDRs -}}
{{- fail "objectStore.egressCIDRs are addresses of an external store, but store.enabled=true runs a bundled one; clear them" -}}
{{- end -}}
{{- if not (or .Values.store.enabled $given.endpoint $given.cloudflareAccountId) -}}
{{- fail "nowhere to keep stems: set objectStore.endpoint (S3) or objectStore.cloudflareAccountId (R2), or store.enabled=true for the bundled store" -}}
{{- end -}}
{{- if and $given.existingSecret (or $given.accessKeyId $given.secretAccessKey) -}}
{{- fail "objectStore.existingSecret and objectStore.accessKeyId/secretAccessKey are both set; keep one" -}}
{{- end -}}
{{- if ne (empty $given.accessKeyId) (empty $given.secretAccessKey) -}}
{{- fail "objectStore.accessKeyId and objectStore.secretAccessKey are required together; one of them is empty" -}}
{{- end -}}
{{- include "stemyard.validateIdentity" . -}}
{{- if not (or .Values.store.enabled $given.existingSecret $given.accessKeyId (include "stemyard.workloadIdentity" .)) -}}
{{- fail "no credentials for the object store: set objectStore.existingSecret, or objectStore.accessKeyId and objectStore.secretAccessKey, or objectStore.workloadIdentity.enabled=true" -}}
{{- end -}}
{{- end }}

{{- define "stemyard.validateIdentity" -}}
{{- $given := .Values.objectStore -}}
{{- $identity := $given.workloadIdentity -}}
{{- range list "roleArn" "stsEndpoint" -}}
{{- if and (get $identity .) (not $identity.enabled) -}}
{{- fail (printf "objectStore.workloadIdentity.%s is set, but objectStore.workloadIdentity.enabled=false; set it to true, or clear it" .) -}}
{{- end -}}
{{- end -}}
{{- if and $identity.enabled .Values.store.enabled -}}
{{- fail "objectStore.workloadIdentity.enabled=true is for an external store, but store.enabled=true runs a bundled one, which knows keys only; set one of them to false" -}}
{{- end -}}
{{- if and $identity.enabled (or $given.existingSecret $given.accessKeyId) -}}
{{- fail "objectStore.workloadIdentity.enabled=true, but objectStore.existingSecret or objectStore.accessKeyId gives keys; clear these, or set it to false" -}}
{{- end -}}
{{- $keyless := and (include "stemyard.workloadIdentity" .) true -}}
{{- if and $keyless (not $given.endpoint) $given.cloudflareAccountId -}}
{{- fail "objectStore.cloudflareAccountId names an R2 bucket, and R2 has no workload identity; set objectStore.existingSecret and objectStore.workloadIdentity.enabled=false, or objectStore.endpoint" -}}
{{- end -}}
{{- if and $keyless (not $given.region) -}}
{{- fail "objectStore.region is empty, but the credentials of a workload identity are for one region; set it (us-east-1 for MinIO)" -}}
{{- end -}}
{{- if not (or $keyless .Values.store.enabled $given.existingSecret $given.accessKeyId) -}}
{{- include "stemyard.validateAnnotations" . -}}
{{- end -}}
{{- end }}

{{/* Annotations of ServiceAccounts that do not do what they seem to. */}}
{{- define "stemyard.validateAnnotations" -}}
{{- $parts := dict "api" "operator" "operator" "api" -}}
{{- range $part, $other := $parts -}}
{{- $annotations := (get $.Values $part).serviceAccountAnnotations -}}
{{- range $name := list "iam.gke.io/gcp-service-account" "azure.workload.identity/client-id" -}}
{{- if hasKey $annotations $name -}}
{{- fail (printf "%s.serviceAccountAnnotations has %s, which brings no credentials for S3; set objectStore.workloadIdentity.enabled=true and roleArn to a role that trusts the cluster's tokens, or objectStore.existingSecret" $part $name) -}}
{{- end -}}
{{- end -}}
{{- if hasKey $annotations "eks.amazonaws.com/role-arn" -}}
{{- fail (printf "%s.serviceAccountAnnotations lacks eks.amazonaws.com/role-arn, which %s.serviceAccountAnnotations has; both reach the object store, so set it, or objectStore.existingSecret" $other $part) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "stemyard.validateRedis" -}}
{{- if and .Values.redis.url .Values.redis.existingSecret -}}
{{- fail "redis.url and redis.existingSecret are both set; keep one" -}}
{{- end -}}
{{- $external := or .Values.redis.url .Values.redis.existingSecret -}}
{{- if and .Values.redis.caSecret .Values.valkey.enabled -}}
{{- fail "redis.caSecret is for an external Redis, but valkey.enabled=true runs a bundled one; clear it" -}}
{{- end -}}
{{- if and .Values.redis.caSecret .Values.redis.url (not (hasPrefix "rediss://" .Values.redis.url)) -}}
{{- fail "redis.caSecret is for TLS, but redis.url does not begin with rediss://; change the URL, or clear redis.caSecret" -}}
{{- end -}}
{{- if and .Values.redis.url (not (regexMatch ":[0-9]+$" (urlParse .Values.redis.url).host)) (ne (int .Values.redis.port) 6379) -}}
{{- fail (printf "redis.url names no port, which means 6379, and redis.port is %v; write the port into redis.url" .Values.redis.port) -}}
{{- end -}}
{{- if and .Values.valkey.password .Values.valkey.existingSecret -}}
{{- fail "valkey.password and valkey.existingSecret are both set; keep one" -}}
{{- end -}}
{{- if and .Values.valkey.existingSecret (not .Values.valkey.enabled) -}}
{{- fail "valkey.existingSecret is for the bundled Valkey, but valkey.enabled=false; use redis.existingSecret for an external one" -}}
{{- end -}}
{{- if and .Values.valkey.enabled $external -}}
{{- fail "valkey.enabled=true runs a bundled Valkey, but redis.url or redis.existingSecret names another; set valkey.enabled=false" -}}
{{- end -}}
{{- if not (or .Values.valkey.enabled $external) -}}
{{- fail "no Redis: set redis.url or redis.existingSecret, or valkey.enabled=true for the bundled Valkey" -}}
{{- end -}}
{{- end }}

{{- define "stemyard.validateWebhooks" -}}
{{- $given := .Values.webhooks -}}
{{- if and $given.existingSecret (or $given.secret $given.previousSecret) -}}
{{- fail "webhooks.existingSecret and webhooks.secret/previousSecret are both set; keep one" -}}
{{- end -}}
{{- if and $given.existingSecret (or $given.endpoints $given.keySecrets) -}}
{{- fail "webhooks.existingSecret is set, so endpoints and key secrets belong in its key endpoints.yaml; clear webhooks.endpoints and webhooks.keySecrets" -}}
{{- end -}}
{{- $names := list -}}
{{- range $given.endpoints -}}
{{- if has .name $names -}}
{{- fail (printf "webhooks.endpoints has two entries named %q; names must be unique, since deliveries and secrets refer to them" .name) -}}
{{- end -}}
{{- $names = append $names .name -}}
{{- if and (hasPrefix "http://" .url) (not $given.allowHttp) -}}
{{- $origin := printf "http://%s" (urlParse .url).host -}}
{{- if not (has $origin $given.allowedOrigins) -}}
{{- fail (printf "webhooks.endpoints has %q at an http:// address, which is refused; use https://, name %s in webhooks.allowedOrigins, or set webhooks.allowHttp=true" .name $origin) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- include "stemyard.validateSigning" (list "webhooks" $given) -}}
{{- range $index, $endpoint := $given.endpoints -}}
{{- include "stemyard.validateSigning" (list (printf "webhooks.endpoints[%d]" $index) $endpoint) -}}
{{- end -}}
{{- range $key, $secrets := $given.keySecrets -}}
{{- include "stemyard.validateSigning" (list (printf "webhooks.keySecrets.%s" $key) $secrets) -}}
{{- end -}}
{{- if and $given.previousSecret (not $given.secret) -}}
{{- fail "webhooks.previousSecret is set without the webhooks.secret that replaces it; set webhooks.secret, or clear it" -}}
{{- end -}}
{{- end }}

{{- /* Where, and a mapping with secret and previousSecret: base64 as consumers in Go and Rust read it, with its padding. */}}
{{- define "stemyard.validateSigning" -}}
{{- $given := index . 1 -}}
{{- $padded := `^whsec_([A-Za-z0-9+/]{4})*([A-Za-z0-9+/]{4}|[A-Za-z0-9+/]{2}[AEIMQUYcgkosw048]=|[A-Za-z0-9+/][AQgw]==)$` -}}
{{- range $name := list "secret" "previousSecret" -}}
{{- $secret := index $given $name | default "" -}}
{{- if and (hasPrefix "whsec_" $secret) (not (regexMatch $padded $secret)) -}}
{{- fail (printf "%s.%s begins with whsec_, but what follows is not base64 with its padding (=); correct it, or remove whsec_ for a secret that is text" (index $ 0) $name) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{- define "stemyard.validateScope" -}}
{{- $watched := include "stemyard.watchNamespaces" . | fromJsonArray -}}
{{- $namespace := include "stemyard.apiNamespace" . -}}
{{- if not (has $namespace $watched) -}}
{{- fail (printf "the API creates SeparationJobs in the namespace %q, which is not watched; add it to watchNamespaces or set api.namespace to one of %s" $namespace (join ", " $watched)) -}}
{{- end -}}
{{- if not (hasKey .Values.profiles "default") -}}
{{- fail "profiles.default is missing; SeparationJobs that name no profile use it" -}}
{{- end -}}
{{- $weights := list -}}
{{- with .Values.models -}}
{{- if .claim }}{{ $weights = append $weights "models.claim" }}{{ end -}}
{{- if .image }}{{ $weights = append $weights "models.image" }}{{ end -}}
{{- if .cache.enabled }}{{ $weights = append $weights "models.cache.enabled" }}{{ end -}}
{{- end -}}
{{- if gt (len $weights) 1 -}}
{{- fail (printf "%s are mutually exclusive sources of model weights; keep one" (join " and " $weights)) -}}
{{- end -}}
{{- if and .Values.models.enabled (not (has .Values.models.default .Values.models.enabled)) -}}
{{- fail (printf "models.default %q is not in models.enabled; add it" .Values.models.default) -}}
{{- end -}}
{{- $absent := without (include "stemyard.models" . | fromJsonArray) "spleeter-2stems" -}}
{{- if and $absent (not $weights) (eq .Values.images.separatorCuda.repository "ghcr.io/stemyard/separator") -}}
{{- fail (printf "models.default or models.enabled names %s, but no released image contains its weights; set models.cache.enabled=true, models.claim or models.image, or images.separatorCuda.repository to your own image" (first $absent)) -}}
{{- end -}}
{{- end }}

{{/* Builds names without stemyard.name, which would call the validation again. */}}
{{- define "stemyard.validateSecrets" -}}
{{- if and .Values.secrets.asFiles .Values.store.enabled -}}
{{- fail "secrets.asFiles=true, but the bundled store (store.enabled=true) reads its keys from its environment only; use an external store, or set secrets.asFiles=false" -}}
{{- end -}}
{{- if and .Values.secrets.asFiles (regexMatch "^https?://[^/]*@" .Values.webhooks.proxyUrl) -}}
{{- fail "secrets.asFiles=true, but webhooks.proxyUrl has a password, which would be in the operator's environment; use a proxy without one, or set secrets.asFiles=false" -}}
{{- end -}}
{{- $base := .Values.fullnameOverride | default .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- range $part, $own := dict "api" "api" "objectStore" "object-store" "redis" "redis" "valkey" "redis" "webhooks" "webhooks" -}}
{{- if eq (get $.Values $part).existingSecret (printf "%s-%s" $base $own) -}}
{{- fail (printf "%s.existingSecret is %s-%s, the name of the chart's own Secret, which the chart then deletes; use a Secret of another name" $part $base $own) -}}
{{- end -}}
{{- end -}}
{{- end }}

{{/*
Refuse a namespace whose SeparationJobs another release runs: both would create Jobs for them. Takes a list: the root, the
namespace. Without a cluster the lookup is empty and nothing is refused.
*/}}
{{- define "stemyard.validateAlone" -}}
{{- $root := index . 0 -}}
{{- $namespace := index . 1 -}}
{{- range (lookup "rbac.authorization.k8s.io/v1" "Role" $namespace "").items -}}
{{- $labels := .metadata.labels | default dict -}}
{{- $ours := and (eq (get $labels "app.kubernetes.io/part-of") "stemyard") (eq (get $labels "app.kubernetes.io/component") "operator") -}}
{{- $release := get $labels "app.kubernetes.io/instance" -}}
{{- if and $ours (ne $release $root.Release.Name) -}}
{{- fail (printf "the release %q runs the SeparationJobs of the namespace %q already; name other namespaces in watchNamespaces, or uninstall that release" $release $namespace) -}}
{{- end -}}
{{- end -}}
{{- end }}
