{{/* Combinations of values that cannot work; each ends the installation with a sentence that names the value to change. */}}

{{- define "stemyard.validate" -}}
{{- include "stemyard.validateStore" . -}}
{{- include "stemyard.validateRedis" . -}}
{{- include "stemyard.validateScope" . -}}
{{- include "stemyard.validateWebhooks" . -}}
{{- if and .Values.api.secretKey .Values.api.existingSecret -}}
{{- fail "api.secretKey and api.existingSecret are both set; keep one" -}}
{{- end -}}
{{- if and .Values.api.cloudflareKV.namespaceId (not .Values.api.cloudflareKV.existingSecret) -}}
{{- fail "api.cloudflareKV.existingSecret is empty; name a Secret with the key CLOUDFLARE_API_TOKEN, or clear api.cloudflareKV.namespaceId" -}}
{{- end -}}
{{- end }}

{{- define "stemyard.validateStore" -}}
{{- $given := .Values.objectStore -}}
{{- if and .Values.store.enabled (or $given.endpoint $given.cloudflareAccountId) -}}
{{- fail "store.enabled=true runs a bundled store, but objectStore.endpoint or objectStore.cloudflareAccountId names another; clear these or set store.enabled=false" -}}
{{- end -}}
{{- if not (or .Values.store.enabled $given.endpoint $given.cloudflareAccountId) -}}
{{- fail "nowhere to keep stems: set objectStore.endpoint (S3) or objectStore.cloudflareAccountId (R2), or store.enabled=true for the bundled store" -}}
{{- end -}}
{{- if and $given.existingSecret (or $given.accessKeyId $given.secretAccessKey) -}}
{{- fail "objectStore.existingSecret and objectStore.accessKeyId/secretAccessKey are both set; keep one" -}}
{{- end -}}
{{- if ne (empty $given.accessKeyId) (empty $given.secretAccessKey) -}}
{{- fail "objectStore.accessKeyId and objectStore.secretAccessKey go together; one of them is empty" -}}
{{- end -}}
{{- if not (or .Values.store.enabled $given.existingSecret $given.accessKeyId) -}}
{{- fail "no credentials for the object store: set objectStore.existingSecret, or objectStore.accessKeyId and objectStore.secretAccessKey" -}}
{{- end -}}
{{- end }}

{{- define "stemyard.validateRedis" -}}
{{- if and .Values.redis.url .Values.redis.existingSecret -}}
{{- fail "redis.url and redis.existingSecret are both set; keep one" -}}
{{- end -}}
{{- $external := or .Values.redis.url .Values.redis.existingSecret -}}
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
{{- fail "webhooks.existingSecret is set, so endpoints and key secrets belong into its key endpoints.yaml; clear webhooks.endpoints and webhooks.keySecrets" -}}
{{- end -}}
{{- if and $given.previousSecret (not $given.secret) -}}
{{- fail "webhooks.previousSecret is what webhooks.secret replaces; set webhooks.secret, or clear it" -}}
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
{{- if and .Values.models.enabled (not (has .Values.models.default .Values.models.enabled)) -}}
{{- fail (printf "models.default %q is not in models.enabled; add it" .Values.models.default) -}}
{{- end -}}
{{- end }}
