{{/* What the chart sets, under what the user does. As JSON: a TOML writer would make 8080.0 of 8080. */}}
{{- define "roundhouse.config" -}}
{{- $images := ternary "/var/cache/roundhouse/images" "/models/.images" .Values.modelCache.readOnly }}
{{- $keys := dict "anonymous" .Values.auth.anonymous "open_metrics" .Values.auth.openMetrics }}
{{- if include "roundhouse.keysSecret" . }}
{{- $_ := set $keys "file" "/etc/roundhouse-keys/keys.json" }}
{{- end }}
{{- $own := dict
  "host" "0.0.0.0"
  "port" 8080
  "models_dir" "/models"
  "image_cache" $images
  "log_format" "json"
  "limits" (dict "shutdown_seconds" .Values.drain.seconds)
  "keys" $keys
}}
{{- mergeOverwrite $own (deepCopy .Values.config) | toPrettyJson }}
{{- end }}

{{/* True where config.tls has the server speak HTTPS. */}}
{{- define "roundhouse.isTls" -}}
{{- if .Values.config.tls }}true{{ end }}
{{- end }}
