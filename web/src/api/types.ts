// The shapes of /api/v1 as the pages use them.

export type Severity = 'info' | 'low' | 'medium' | 'high' | 'critical'
export const severities: readonly Severity[] = ['info', 'low', 'medium', 'high', 'critical']

export interface Page<T> {
  items: T[]
  next_cursor?: string
}

/** Administrator; looks after machines; looks after security; sees public figures. */
export type Role = 'ADM' | 'IT' | 'SUP' | 'PUB'

export interface Me {
  username: string
  role: Role
  trust: 'development' | 'release'
  version: string
  dev: boolean
  csrf: string
}

export type StepID = 'enable_plugin' | 'add_machine' | 'drop_capture' | 'get_told'

export interface Step {
  id: string
  done: boolean
  title: string
  text: string
  link: string
}

export interface Overview {
  devices: number
  agents: { online: number; total: number }
  alerts: Partial<Record<Severity, number>>
  plugins: { ready: number; total: number }
  steps: Step[]
}

export type Point = [time: number, value: number | null]

export interface Series {
  agent?: string
  labels: Record<string, string>
  points: Point[]
}

export interface SeriesAnswer {
  metric: string
  unit: string
  type: string
  step_seconds: number
  series: Series[]
}

export interface Fact {
  value: string
  source: string
  confidence: number
  time: string
}

export interface Device {
  id: string
  ips: string[]
  macs: string[]
  hostnames: string[]
  vendor?: string
  first_seen: string
  last_seen: string
  sources: string[]
  facts: Record<string, Fact>
}

export type CaptureState = 'queued' | 'running' | 'done' | 'failed'

export interface Capture {
  id: string
  name: string
  sha256: string
  size: number
  state: CaptureState
  progress: number
  packets: number
  bytes: number
  flows: number
  first_packet?: string
  last_packet?: string
  error?: string
  findings: number
  skipped?: string
  created: string
}

export type AlertState = 'firing' | 'acknowledged' | 'resolved'

export interface Alert {
  id: string
  state: AlertState
  severity: Severity
  risk: number
  confidence: number
  title: string
  detector: string
  rule: string
  techniques: string[]
  src: string
  dst: string
  first_seen: string
  last_seen: string
  count: number
  capture_id?: string
}

export interface FlowRef {
  id: number
  community_id: string
  proto: string
  src: string
  dst: string
}

export interface Finding {
  id: string
  detector: string
  rule: string
  severity: Severity
  risk: number
  confidence: number
  techniques: string[]
  src: string
  dst: string
  start: string
  end: string
  packets: number[]
  flows: FlowRef[]
  features?: Record<string, number>
  summary: string
}

export interface Notice {
  id: string
  notifier: string
  state: 'queued' | 'delivered' | 'failed' | 'dead'
  attempts: number
  last_error?: string
  receipt?: { foreign_id?: string; url?: string } | null
  time: string
}

export interface AlertDetail extends Alert {
  findings: Finding[]
  evidence: { packets: number[]; flows: FlowRef[] }
  notices: Notice[]
  rule_purpose?: string
  false_positives: string[]
}

export type PluginKind = 'collector' | 'discovery' | 'detector' | 'notifier'

export type InstanceState =
  | 'staged'
  | 'starting'
  | 'ready'
  | 'degraded'
  | 'backoff'
  | 'quarantined'
  | 'revoked'
  | 'refused'
  | 'draining'
  | 'stopped'

export interface Permission {
  cap: string
  args?: Record<string, string[]>
  reason?: string
  optional?: boolean
}

export interface Ledger {
  cpu_seconds?: number
  memory_bytes?: number
  calls?: number
  errors?: number
  records?: number
  findings?: number
  crashes?: number
  latency_p50_ms?: number
  latency_p95_ms?: number
}

export interface LogLine {
  time?: string
  level?: string
  text: string
}

export interface PluginInstance {
  instance: string
  plugin?: string
  node: { type: 'server' | 'agent'; id: string; name: string }
  state: InstanceState
  reason?: string
  runtime: string
  version?: string
  pid?: number
  restarts: number
  since?: string
  ledger?: Ledger
  log_tail?: LogLine[]
  config?: Record<string, unknown>
  grants?: Permission[]
}

export interface Rule {
  id: string
  purpose: string
  techniques: string[]
  severity: Severity
  false_positives: string[]
}

export interface Plugin {
  id: string
  title: string
  summary: string
  kind: PluginKind
  versions: string[]
  version: string
  license: string
  trust: string
  runtimes: string[]
  permissions: Permission[]
  config_schema?: JSONSchema | null
  rules?: Rule[]
  readme?: string
  enabled: boolean
  instances: PluginInstance[]
}

export interface JSONSchema {
  type?: string | string[]
  title?: string
  description?: string
  properties?: Record<string, JSONSchema>
  required?: string[]
  items?: JSONSchema
  enum?: unknown[]
  default?: unknown
  minimum?: number
  maximum?: number
  minLength?: number
  maxLength?: number
  format?: string
  writeOnly?: boolean
  'x-secret'?: boolean
  'x-order'?: number
  'x-format'?: string
  'x-min'?: string
  'x-max'?: string
}

export interface EnableRequest {
  node?: string
  runtime?: string
  config: Record<string, unknown>
  secrets: Record<string, string>
  grants: string[] | 'all'
  interval?: string
}

export interface Agent {
  id: string
  name: string
  os: string
  arch: string
  version: string
  state: 'online' | 'late' | 'offline'
  last_seen?: string
  enrolled_at: string
  address?: string
  queue?: { depth: number; bytes: number; dropped: number }
  labels?: Record<string, string>
  plugins?: PluginInstance[]
}

export interface AgentCommand {
  id: string
  type: string
  state: string
  args?: Record<string, string>
  output?: string
  issued: string
  expires: string
  finished?: string
  created_by: string
  output_truncated?: boolean
}

export interface Token {
  id: string
  name: string
  role: string
  hint: string
  created_by: string
  created: string
  expires?: string
  last_used?: string
}

export interface AuditEntry {
  id: string
  time: string
  actor: string
  action: string
  object?: string
  outcome?: string
  detail?: string
  address?: string
}

export type LiveTopic = 'samples' | 'alerts' | 'plugins' | 'captures' | 'devices' | 'notices'

export interface LiveMessage {
  id?: string | number
  topic: LiveTopic | 'reset'
  data?: unknown
}
