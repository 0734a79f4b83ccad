// A view as it is saved: the query of the page's address.
import { readFlowAddress, type FlowAddress } from './flowFilter'

export function queryOfView(address: FlowAddress): string {
  const query = new URLSearchParams()
  for (const [key, value] of Object.entries(address)) if (value !== undefined) query.set(key, String(value))
  return query.toString()
}

/** What somebody else saved is read without trusting it. */
export const viewOfQuery = (query: string): FlowAddress => readFlowAddress(Object.fromEntries(new URLSearchParams(query)))
