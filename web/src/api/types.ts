// The nouns of /api/v1 by the names the pages use. Their shapes come from the server's own description (npm run gen);
// what that description leaves open is said here.
import type { components } from './schema'

type S = components['schemas']

export const severities = ['info', 'low', 'medium', 'high', 'critical'] as const
export type Severity = (typeof severities)[number]

export type Me = S['Me']
export type Role = Me['role']
export type Overview = S['Overview']
export type Step = S['Step']

export type Metric = S['Metric']
/** [unix milliseconds, value]; a value that is not known is null. */
export type Point = [time: number, value: number | null]
export interface Series extends Omit<S['Line'], 'points' | 'agent'> {
  agent?: string
  points: Point[]
}
export interface SeriesAnswer extends Omit<S['Series'], 'series'> {
  series: Series[]
}

export type Device = S['Device']
export type Capture = S['Capture']
export type CaptureQuality = NonNullable<Capture['quality']>

export type Alert = S['Alert'] & { severity: Severity }
export type AlertState = Alert['state']
export const alertStates = ['firing', 'acknowledged', 'resolved'] as const
export type AlertDetail = Alert & S['AlertDetail']
export type AlertEvidence = S['Evidence']
export type Finding = S['Finding']
export type FlowRef = S['FlowRef']
export type EvidenceFlow = S['EvidenceFlow']
export type Kept = S['KeptEvidence']
export type Notice = S['Notice']

export type Incident = S['Incident']
export type IncidentState = Incident['state']
export const incidentStates = ['open', 'acknowledged', 'closed'] as const
// The description leaves out what a shape takes over from another one.
export type IncidentDetail = Incident & S['IncidentDetail']
export type IncidentStage = S['IncidentStage']
export type IncidentStep = S['IncidentStep']
export type IncidentJudged = S['IncidentJudged']
export type Feedback = S['Feedback']
export type Verdict = Feedback['verdict']
export const verdicts = ['true', 'false', 'benign'] as const
/** What a suppression is about. */
export type Scope = S['SuppressionScope']
export type Suppression = S['Suppression']

export interface Plugin extends Omit<S['Plugin'], 'config_schema'> {
  config_schema?: JSONSchema
}
export type PluginKind = Plugin['kind']
export type PluginInstance = S['Instance']
export type Permission = S['Permission']
export type EnableRequest = S['EnableInput']
export type Transition = S['Transition']
export type Explanation = S['Explanation']
export type Confinement = S['Report']
/** What an instance used of its permissions, or was refused. */
export type Use = S['Use']
export type ShadowReport = S['ShadowReport']
export type ShadowFinding = S['ShadowFinding']
export type Upgrade = S['Upgrade']
export type Ledger = S['Ledger']
export type ProcessLimits = S['ProcessLimits']
/** What an operator allows; what is left out is as the manifest states. */
export type LimitsSet = S['Limits']
export type LogLine = S['LogLine']

export type Agent = S['Agent']
export type AgentCommand = S['AgentCommand']
export type Token = S['Token']
export type NewToken = S['NewToken']
export type AuditEntry = S['Audit']

/** The words of a plugin's configuration schema, as sdk/config writes them. */
export interface JSONSchema {
  type?: string | string[]
  title?: string
  description?: string
  properties?: Record<string, JSONSchema>
  required?: string[]
  items?: JSONSchema
  additionalProperties?: JSONSchema | boolean
  enum?: unknown[]
  default?: unknown
  minimum?: number
  maximum?: number
  format?: string
  writeOnly?: boolean
  'x-secret'?: boolean
  'x-order'?: number
  'x-format'?: string
  'x-min'?: string
  'x-max'?: string
}

export type LiveTopic = 'samples' | 'alerts' | 'plugins' | 'captures' | 'devices' | 'notices' | 'incidents'

export interface LiveMessage {
  id?: string
  topic: LiveTopic | 'reset'
  data?: unknown
}
