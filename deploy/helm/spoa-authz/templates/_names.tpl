{{- define "spoa-authz.name" -}}
{{- $name := default .Chart.Name .Values.nameOverride -}}
{{- if contains $name .Release.Name }}{{ .Release.Name | trunc 52 | trimSuffix "-" }}{{ else }}{{ printf "%s-%s" .Release.Name $name | trunc 52 | trimSuffix "-" }}{{ end -}}
{{- end }}

{{- define "spoa-authz.selector" -}}
app.kubernetes.io/name: {{ default .Chart.Name .Values.nameOverride }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "spoa-authz.labels" -}}
{{ include "spoa-authz.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "spoa-authz.tokenSecret" -}}
{{- if .Values.adminTokenSecret }}{{ .Values.adminTokenSecret }}{{ else if .Values.adminToken.create }}{{ include "spoa-authz.name" . }}-admin-token{{ end -}}
{{- end }}
