// Addresses of files that the server makes when they are asked for.

export const flowFile = (capture: string, id: number): string => `/api/v1/captures/${encodeURIComponent(capture)}/flows/${id}/pcap`
export const packetsFile = (capture: string, numbers: readonly number[]): string =>
  `/api/v1/captures/${encodeURIComponent(capture)}/pcap?numbers=${numbers.join(',')}`
export const keptFile = (alert: string, finding: string): string => `/api/v1/alerts/${encodeURIComponent(alert)}/findings/${encodeURIComponent(finding)}/pcap`
