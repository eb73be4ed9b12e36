{{/* What every pod of the chart has alike: who it runs as, where, and with which secrets. */}}
{{- define "roundhouse.podBasics" -}}
serviceAccountName: {{ include "roundhouse.serviceAccountName" . }}
automountServiceAccountToken: false
enableServiceLinks: false
{{- with .Values.imagePullSecrets }}
imagePullSecrets:
  {{- range . }}
  - name: {{ . }}
  {{- end }}
{{- end }}
securityContext:
  {{- toYaml .Values.podSecurityContext | nindent 2 }}
{{- with .Values.nodeSelector }}
nodeSelector:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.affinity }}
affinity:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.resourceClaims }}
resourceClaims:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.priorityClassName }}
priorityClassName: {{ . }}
{{- end }}
{{- with .Values.schedulerName }}
schedulerName: {{ . }}
{{- end }}
{{- end }}

{{/* What every container of the image has alike. */}}
{{- define "roundhouse.containerBasics" -}}
image: {{ include "roundhouse.image" . }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  {{- toYaml .Values.securityContext | nindent 2 }}
env:
  {{- include "roundhouse.env" . | nindent 2 }}
{{- with .Values.extraEnvFrom }}
envFrom:
  {{- toYaml . | nindent 2 }}
{{- end }}
{{- end }}

{{/* The root is read-only, so all that libraries write has a place of its own. */}}
{{- define "roundhouse.env" -}}
- name: HOME
  value: /var/cache/roundhouse
- name: HF_HOME
  value: /var/cache/roundhouse/huggingface
- name: TRITON_CACHE_DIR
  value: /var/cache/roundhouse/triton
- name: TORCHINDUCTOR_CACHE_DIR
  value: /var/cache/roundhouse/inductor
{{- with .Values.huggingface.endpoint }}
- name: HF_ENDPOINT
  value: {{ . | quote }}
{{- end }}
{{- if .Values.huggingface.offline }}
- name: HF_HUB_OFFLINE
  value: "1"
{{- end }}
{{- with include "roundhouse.hubSecret" . }}
- name: HF_TOKEN
  valueFrom:
    secretKeyRef:
      name: {{ . }}
      key: {{ $.Values.huggingface.tokenKey }}
{{- end }}
{{- with .Values.extraEnv }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "roundhouse.mounts" -}}
- name: models
  mountPath: /models
  {{- if .Values.modelCache.readOnly }}
  readOnly: true
  {{- end }}
- name: cache
  mountPath: /var/cache/roundhouse
- name: tmp
  mountPath: /tmp
- name: config
  mountPath: /etc/roundhouse
  readOnly: true
{{- if include "roundhouse.keysSecret" . }}
- name: keys
  mountPath: /etc/roundhouse-keys
  readOnly: true
{{- end }}
{{- if .Values.shm.enabled }}
- name: shm
  mountPath: /dev/shm
{{- end }}
{{- with .Values.extraVolumeMounts }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{- define "roundhouse.volumes" -}}
- name: models
  {{- $cache := .Values.modelCache }}
  {{- if eq $cache.type "pvc" }}
  persistentVolumeClaim:
    claimName: {{ include "roundhouse.fullname" . }}-models
  {{- else if eq $cache.type "existingClaim" }}
  persistentVolumeClaim:
    claimName: {{ required "modelCache.existingClaim: the claim's name is needed" $cache.existingClaim }}
    {{- if $cache.readOnly }}
    readOnly: true
    {{- end }}
  {{- else if eq $cache.type "hostPath" }}
  hostPath:
    path: {{ required "modelCache.hostPath: the path is needed" $cache.hostPath }}
    type: Directory # one that the kubelet makes belongs to root, and nothing could be written
  {{- else }}
  emptyDir:
    {{- toYaml $cache.emptyDir | nindent 4 }}
  {{- end }}
- name: cache
  emptyDir: {}
- name: tmp
  emptyDir: {}
- name: config
  configMap:
    name: {{ include "roundhouse.fullname" . }}
{{- with include "roundhouse.keysSecret" . }}
- name: keys
  secret:
    secretName: {{ . }}
    defaultMode: 0440
{{- end }}
{{- if .Values.shm.enabled }}
- name: shm
  emptyDir:
    medium: Memory
    sizeLimit: {{ .Values.shm.sizeLimit }}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end }}

{{/* The server's container. */}}
{{- define "roundhouse.server" -}}
name: gateway
{{ include "roundhouse.containerBasics" . }}
args:
  - serve
  - --config
  - /etc/roundhouse/roundhouse.json
  {{- with .Values.extraArgs }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
ports:
  - name: http
    containerPort: 8080
startupProbe:
  httpGet:
    {{- include "roundhouse.ask" (list . "/readyz") | nindent 4 }}
  {{- toYaml .Values.probes.startup | nindent 2 }}
livenessProbe:
  httpGet:
    {{- include "roundhouse.ask" (list . "/livez") | nindent 4 }}
  {{- toYaml .Values.probes.liveness | nindent 2 }}
readinessProbe:
  httpGet:
    {{- include "roundhouse.ask" (list . "/readyz") | nindent 4 }}
  {{- toYaml .Values.probes.readiness | nindent 2 }}
lifecycle:
  {{- include "roundhouse.lifecycle" . | nindent 2 }}
resources:
  {{- include "roundhouse.resources" . | nindent 2 }}
volumeMounts:
  {{- include "roundhouse.mounts" . | nindent 2 }}
{{- end }}

{{/* By a name that is answered to whatever config.allowed_hosts says; a kubelet asks by address. */}}
{{- define "roundhouse.ask" -}}
{{- $root := index . 0 }}
path: {{ index . 1 }}
port: http
{{- if include "roundhouse.isTls" $root }}
scheme: HTTPS
{{- end }}
httpHeaders:
  - {name: Host, value: localhost}
{{- end }}

{{/* Endpoints forget a pod only after it was told to go; until then requests still come. */}}
{{- define "roundhouse.lifecycle" -}}
{{- if .Values.lifecycle }}
{{- toYaml .Values.lifecycle }}
{{- else if semverCompare ">=1.30-0" .Capabilities.KubeVersion.Version }}
preStop:
  sleep:
    seconds: {{ .Values.drain.preStopSeconds }}
{{- else }}
preStop:
  exec:
    command: ["sleep", {{ .Values.drain.preStopSeconds | toString | quote }}]
{{- end }}
{{- end }}

{{- define "roundhouse.resources" -}}
{{- $resources := deepCopy .Values.resources }}
{{- if .Values.gpu.enabled }}
{{- $limits := default (dict) (index $resources "limits") }}
{{- $resources = set $resources "limits" (set $limits .Values.gpu.resource (toString .Values.gpu.count)) }}
{{- end }}
{{- toYaml $resources }}
{{- end }}

{{/* Brings the models of `models`, each whole or not at all; what is there already costs nothing. */}}
{{- define "roundhouse.puller" -}}
name: pull
{{ include "roundhouse.containerBasics" . }}
args:
  - pull
  - --config
  - /etc/roundhouse/roundhouse.json
  {{- range .Values.models }}
  - {{ . | quote }}
  {{- end }}
resources:
  {{- toYaml .Values.pull.resources | nindent 2 }}
volumeMounts:
  {{- include "roundhouse.mounts" . | nindent 2 }}
{{- end }}

{{/* Pods on different nodes, unless the values say otherwise. */}}
{{- define "roundhouse.spread" -}}
{{- $constraints := .Values.topologySpreadConstraints }}
{{- if not $constraints }}
{{- $constraints = list (dict "maxSkew" 1 "topologyKey" "kubernetes.io/hostname" "whenUnsatisfiable" "ScheduleAnyway") }}
{{- end }}
topologySpreadConstraints:
  {{- range $constraints }}
  {{- $own := dict "labelSelector" (dict "matchLabels" (include "roundhouse.selectorLabels" $ | fromYaml)) }}
  - {{- toYaml (merge (deepCopy .) $own) | nindent 4 }}
  {{- end }}
{{- end }}
