{{- define "roundhouse.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "roundhouse.fullname" -}}
{{- $name := default .Chart.Name .Values.nameOverride }}
{{- if .Values.fullnameOverride }}
{{- .Values.fullnameOverride | trunc 63 | trimSuffix "-" }}
{{- else if contains $name .Release.Name }}
{{- .Release.Name | trunc 63 | trimSuffix "-" }}
{{- else }}
{{- printf "%s-%s" .Release.Name $name | trunc 63 | trimSuffix "-" }}
{{- end }}
{{- end }}

{{- define "roundhouse.namespace" -}}
{{- default .Release.Namespace .Values.namespaceOverride }}
{{- end }}

{{/* Never a version: a Deployment's selector cannot be changed. */}}
{{- define "roundhouse.selectorLabels" -}}
app.kubernetes.io/name: {{ include "roundhouse.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: gateway
{{- end }}

{{- define "roundhouse.labels" -}}
app.kubernetes.io/name: {{ include "roundhouse.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" | trunc 63 | trimSuffix "-" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The metadata of an object: list root, suffix of its name, annotations of its own, labels of its own. */}}
{{- define "roundhouse.metadata" -}}
{{- $root := index . 0 }}
{{- $annotations := merge (dict) (default (dict) (index . 2)) $root.Values.commonAnnotations -}}
name: {{ include "roundhouse.fullname" $root }}{{ index . 1 }}
namespace: {{ include "roundhouse.namespace" $root }}
labels:
  {{- include "roundhouse.labels" $root | nindent 2 }}
  {{- with index . 3 }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- with $annotations }}
annotations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{- define "roundhouse.serviceAccountName" -}}
{{- if .Values.serviceAccount.create }}
{{- default (include "roundhouse.fullname" .) .Values.serviceAccount.name }}
{{- else }}
{{- default "default" .Values.serviceAccount.name }}
{{- end }}
{{- end }}

{{- define "roundhouse.image" -}}
{{- $image := .Values.image }}
{{- $repository := $image.repository }}
{{- if $image.registry }}{{ $repository = printf "%s/%s" $image.registry $image.repository }}{{ end }}
{{- $tag := default .Chart.AppVersion $image.tag }}
{{- if and .Values.gpu.enabled (not $image.tag) }}{{ $tag = printf "%s-cuda" $tag }}{{ end }}
{{- if $image.digest }}
{{- printf "%s@%s" $repository $image.digest }}
{{- else }}
{{- printf "%s:%s" $repository $tag }}
{{- end }}
{{- end }}

{{- define "roundhouse.keysSecret" -}}
{{- if .Values.auth.existingSecret }}
{{- .Values.auth.existingSecret }}
{{- else if .Values.auth.keys }}
{{- include "roundhouse.fullname" . }}-keys
{{- end }}
{{- end }}

{{- define "roundhouse.hubSecret" -}}
{{- if .Values.huggingface.existingSecret }}
{{- .Values.huggingface.existingSecret }}
{{- else if .Values.huggingface.token }}
{{- include "roundhouse.fullname" . }}-hub
{{- end }}
{{- end }}

{{/* True where the number of pods is not ours to say. */}}
{{- define "roundhouse.isScaled" -}}
{{- if or .Values.autoscaling.hpa.enabled .Values.autoscaling.keda.enabled }}true{{ end }}
{{- end }}

{{/* True where there may be more than one pod at a time. */}}
{{- define "roundhouse.isMany" -}}
{{- if or (include "roundhouse.isScaled" .) (gt (int .Values.replicaCount) 1) }}true{{ end }}
{{- end }}
