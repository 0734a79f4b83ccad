// What of the evidence of a live alert has come from the agent, and what may still come.
import type { AlertDetail, AlertEvidence, Finding } from '../api/types'

/** Flows leave an agent some seconds after they end, and packets after the finding: so long a page looks for them. */
const comesWithin = 10 * 60_000

/** Whether a page should look again soon. */
export function awaitsEvidence(a: Pick<AlertDetail, 'last_seen' | 'evidence'>, now: number): boolean {
  if (now - Date.parse(a.last_seen) > comesWithin) return false
  return a.evidence.some((p) => !!p.agent && !!p.run && (p.kept.length === 0 || p.flows.some((f) => f.id > 0 && !f.capture)))
}

/** The finding whose kept packets hold those of a flow, if any do. */
export function keptWith(place: AlertEvidence, findings: readonly Finding[], flow: number): string | undefined {
  return place.kept.find((k) => k.packets > 0 && findings.find((f) => f.id === k.finding)?.flows?.some((f) => f.id === flow))?.finding
}
