/** Whether a path is a flow's page: it belongs to the flows, though its address stands below that of its capture. */
export function isFlow(path: string): boolean {
  return /^\/captures\/[^/]+\/flows\//.test(path)
}
