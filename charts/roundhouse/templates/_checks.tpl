{{/* What the schema cannot say. */}}
{{- define "roundhouse.checks" -}}
{{- $cache := .Values.modelCache }}
{{- if and (include "roundhouse.isMany" .) (eq $cache.type "pvc") (not (has "ReadWriteMany" $cache.accessModes)) }}
{{- fail "modelCache: several replicas need a claim with accessModes [ReadWriteMany], or type hostPath or emptyDir" }}
{{- end }}
{{- if le (int .Values.drain.graceSeconds) (add .Values.drain.preStopSeconds .Values.drain.seconds | int) }}
{{- fail "drain: graceSeconds has to be more than preStopSeconds and seconds together" }}
{{- end }}
{{- if and .Values.autoscaling.hpa.enabled .Values.autoscaling.keda.enabled }}
{{- fail "autoscaling: hpa and keda would fight over the replicas; enable one" }}
{{- end }}
{{- if and $cache.readOnly .Values.models }}
{{- fail "models: nothing can be pulled into a modelCache that is readOnly" }}
{{- end }}
{{- if and .Values.models .Values.huggingface.offline }}
{{- fail "models: nothing can be pulled while huggingface.offline" }}
{{- end }}
{{- if and .Values.inferencePool.enabled (not .Values.inferencePool.endpointPicker.name) }}
{{- fail "inferencePool.endpointPicker.name: the picker's Service is needed" }}
{{- end }}
{{- if and .Values.autoscaling.keda.enabled (not .Values.autoscaling.keda.prometheusAddress) (not .Values.autoscaling.keda.triggers) }}
{{- fail "autoscaling.keda.prometheusAddress: needed for the trigger, unless triggers are given" }}
{{- end }}
{{- end }}
