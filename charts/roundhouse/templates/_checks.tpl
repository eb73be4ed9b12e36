{{/* What the schema cannot say. */}}
{{- define "roundhouse.checks" -}}
{{- $cache := .Values.modelCache }}
{{- if and (include "roundhouse.isMany" .) (eq $cache.type "pvc") (not (has "ReadWriteMany" $cache.accessModes)) }}
{{- fail "modelCache: several replicas need a claim with accessModes [ReadWriteMany], or type hostPath or emptyDir" }}
{{- end }}
{{- if and .Values.autoscaling.hpa.enabled .Values.autoscaling.keda.enabled }}
{{- fail "autoscaling: hpa and keda would fight over the replicas; enable one" }}
{{- end }}
{{- $limits := (include "roundhouse.config" . | fromJson).limits }}
{{- /* what is cut then is given a second */}}
{{- if le (int .Values.drain.graceSeconds) (add .Values.drain.preStopSeconds (ceil $limits.shutdown_seconds) 1 | int) }}
{{- fail "drain.graceSeconds: has to be more than preStopSeconds, and drain.seconds or config.limits.shutdown_seconds, and one together" }}
{{- end }}
{{- range $name := list "port" "models_dir" }}
{{- if hasKey $.Values.config $name }}
{{- fail (printf "config.%s: probes, ports and volumes are made for what the chart sets" $name) }}
{{- end }}
{{- end }}
{{- if and .Values.models (eq .Values.pull.by "job") }}
{{- if eq $cache.type "emptyDir" }}
{{- fail "pull.by: a job cannot reach an emptyDir of another pod; use initContainer" }}
{{- end }}
{{- if and (eq $cache.type "pvc") (not (has "ReadWriteMany" $cache.accessModes)) }}
{{- fail "pull.by: a job beside the server needs modelCache.accessModes [ReadWriteMany]; use initContainer" }}
{{- end }}
{{- end }}
{{- if and $cache.readOnly .Values.models }}
{{- fail "models: nothing can be pulled into a modelCache that is readOnly" }}
{{- end }}
{{- if and .Values.models .Values.huggingface.offline }}
{{- fail "models: nothing can be pulled while huggingface.offline" }}
{{- end }}
{{- if not (or .Values.auth.anonymous (include "roundhouse.keysSecret" .)) }}
{{- fail "auth: without anonymous scopes and without keys nobody could ask anything" }}
{{- end }}
{{- if and .Values.autoscaling.keda.enabled (eq (dig "metrics" "vllm_names" true .Values.config) false) }}
{{- fail "config.metrics.vllm_names: the trigger of autoscaling.keda asks for one of them" }}
{{- end }}
{{- if and .Values.route.enabled (not .Values.route.parentRefs) }}
{{- fail "route.parentRefs: the Gateway that the route belongs to is needed" }}
{{- end }}
{{- $hpa := .Values.autoscaling.hpa }}
{{- if and $hpa.enabled (not $hpa.targetCPUUtilizationPercentage) (not $hpa.metrics) }}
{{- fail "autoscaling.hpa: needs targetCPUUtilizationPercentage or metrics" }}
{{- end }}
{{- if and .Values.inferencePool.enabled (not .Values.inferencePool.endpointPicker.name) }}
{{- fail "inferencePool.endpointPicker.name: the picker's Service is needed" }}
{{- end }}
{{- if and .Values.autoscaling.keda.enabled (not .Values.autoscaling.keda.prometheusAddress) (not .Values.autoscaling.keda.triggers) }}
{{- fail "autoscaling.keda.prometheusAddress: needed for the trigger, unless triggers are given" }}
{{- end }}
{{- end }}
