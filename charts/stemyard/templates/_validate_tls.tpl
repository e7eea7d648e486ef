{{/* Invalid combinations of the values of TLS. */}}

{{- define "stemyard.validateTls" -}}
{{- $tls := .Values.tls -}}
{{- $enabled := list -}}
{{- $made := list -}}
{{- range $part := list "desk" "store" "valkey" -}}
{{- $given := get $tls $part -}}
{{- if and $given.existingSecret (not $given.enabled) -}}
{{- fail (printf "tls.%s.existingSecret is set, but tls.%s.enabled=false; set it to true, or clear the Secret" $part $part) -}}
{{- end -}}
{{- if $given.enabled -}}
{{- $enabled = append $enabled $part -}}
{{- if not (or $given.existingSecret $tls.certManager.enabled) -}}
{{- fail (printf "tls.%s.enabled=true, but there is no certificate; set tls.%s.existingSecret, or tls.certManager.enabled=true" $part $part) -}}
{{- end -}}
{{- if not $given.existingSecret }}{{ $made = append $made $part }}{{ end -}}
{{- if and (ne $part "desk") (not (get $.Values $part).enabled) -}}
{{- fail (printf "tls.%s.enabled=true is for the bundled one, but %s.enabled=false; set one of them to the other" $part $part) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $tls.ca $tls.caConfigMap -}}
{{- fail "tls.ca and tls.caConfigMap are both set; keep one" -}}
{{- end -}}
{{- range $name := list "ca" "caConfigMap" -}}
{{- if and (get $tls $name) (not $enabled) -}}
{{- fail (printf "tls.%s is set, but tls.desk.enabled, tls.store.enabled and tls.valkey.enabled are false, so nothing uses it; enable one, or clear it" $name) -}}
{{- end -}}
{{- end -}}
{{- if and $tls.certManager.enabled (not $made) -}}
{{- fail "tls.certManager.enabled=true, but every part has an existingSecret or is disabled, so there is no certificate to create; set it to false, or enable a part" -}}
{{- end -}}
{{- if and $tls.certManager.issuerRef (not $tls.certManager.enabled) -}}
{{- fail "tls.certManager.issuerRef is set, but tls.certManager.enabled=false; set it to true, or clear the issuer" -}}
{{- end -}}
{{- if and $made $tls.ca (not $tls.certManager.issuerRef) -}}
{{- fail "tls.ca is set, but tls.certManager.issuerRef is empty, so the chart creates another CA; name the issuer of that CA, or clear tls.ca" -}}
{{- end -}}
{{- if le (trimSuffix "h" $tls.certManager.duration | int) (trimSuffix "h" $tls.certManager.renewBefore | int) -}}
{{- fail (printf "tls.certManager.renewBefore %s is not less than tls.certManager.duration %s" $tls.certManager.renewBefore $tls.certManager.duration) -}}
{{- end -}}
{{- if and (or $tls.desk.enabled $tls.store.enabled) (not (or $tls.ca $tls.caConfigMap)) -}}
{{- range without (include "stemyard.watchNamespaces" . | fromJsonArray) .Release.Namespace -}}
{{- fail (printf "separators in the namespace %q cannot read the CA from the Secret of a certificate in the namespace %q; set tls.ca, or tls.caConfigMap to a ConfigMap that is in both" . $.Release.Namespace) -}}
{{- end -}}
{{- end -}}
{{- end }}
