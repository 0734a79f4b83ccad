// Names of the ATT&CK techniques that network detectors commonly name. Bundled, because no page asks another host.
// An id that is not here is shown by its id alone.

const names: Record<string, string> = {
  T1008: 'Fallback Channels',
  T1016: 'System Network Configuration Discovery',
  T1018: 'Remote System Discovery',
  T1020: 'Automated Exfiltration',
  T1021: 'Remote Services',
  'T1021.001': 'Remote Desktop Protocol',
  'T1021.002': 'SMB/Windows Admin Shares',
  'T1021.004': 'SSH',
  'T1021.006': 'Windows Remote Management',
  T1029: 'Scheduled Transfer',
  T1030: 'Data Transfer Size Limits',
  T1040: 'Network Sniffing',
  T1041: 'Exfiltration Over C2 Channel',
  T1046: 'Network Service Discovery',
  T1047: 'Windows Management Instrumentation',
  T1048: 'Exfiltration Over Alternative Protocol',
  T1049: 'System Network Connections Discovery',
  T1071: 'Application Layer Protocol',
  'T1071.001': 'Web Protocols',
  'T1071.002': 'File Transfer Protocols',
  'T1071.003': 'Mail Protocols',
  'T1071.004': 'DNS',
  T1083: 'File and Directory Discovery',
  T1087: 'Account Discovery',
  T1090: 'Proxy',
  'T1090.003': 'Multi-hop Proxy',
  T1095: 'Non-Application Layer Protocol',
  T1102: 'Web Service',
  T1104: 'Multi-Stage Channels',
  T1105: 'Ingress Tool Transfer',
  T1110: 'Brute Force',
  'T1110.001': 'Password Guessing',
  'T1110.003': 'Password Spraying',
  T1132: 'Data Encoding',
  T1133: 'External Remote Services',
  T1135: 'Network Share Discovery',
  T1187: 'Forced Authentication',
  T1190: 'Exploit Public-Facing Application',
  T1205: 'Traffic Signaling',
  T1210: 'Exploitation of Remote Services',
  T1219: 'Remote Access Tools',
  T1498: 'Network Denial of Service',
  T1499: 'Endpoint Denial of Service',
  T1550: 'Use Alternate Authentication Material',
  T1557: 'Adversary-in-the-Middle',
  'T1557.001': 'Name Resolution Poisoning and SMB Relay',
  'T1557.002': 'ARP Cache Poisoning',
  'T1557.003': 'DHCP Spoofing',
  T1558: 'Steal or Forge Kerberos Tickets',
  'T1558.003': 'Kerberoasting',
  T1567: 'Exfiltration Over Web Service',
  T1568: 'Dynamic Resolution',
  'T1568.002': 'Domain Generation Algorithms',
  T1570: 'Lateral Tool Transfer',
  T1571: 'Non-Standard Port',
  T1572: 'Protocol Tunneling',
  T1573: 'Encrypted Channel',
  T1590: 'Gather Victim Network Information',
  T1595: 'Active Scanning',
  'T1595.001': 'Scanning IP Blocks',
  'T1595.002': 'Vulnerability Scanning',
  T1599: 'Network Boundary Bridging',
  T1665: 'Hide Infrastructure',
}

const shape = /^T\d{4}(\.\d{3})?$/

/** The name of a technique; a sub-technique carries its parent's name in front. */
export function techniqueName(id: string): string | undefined {
  const own = names[id]
  const parent = id.includes('.') ? names[id.slice(0, 5)] : undefined
  return own && parent ? `${parent}: ${own}` : (own ?? parent)
}

/** Where the technique is described, for whoever chooses to follow; undefined when it is not an id of that kind. */
export function techniqueLink(id: string): string | undefined {
  return shape.test(id) ? `https://attack.mitre.org/techniques/${id.replace('.', '/')}/` : undefined
}
