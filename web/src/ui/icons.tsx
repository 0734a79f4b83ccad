// Our own line icons: 20 × 20, drawn with the current colour, invisible to screen readers (a label stands beside).
import type { ReactNode } from 'react'

function icon(children: ReactNode) {
  return function Icon({ size = 18 }: { size?: number }) {
    return (
      <svg width={size} height={size} viewBox="0 0 20 20" fill="none" stroke="currentColor" strokeWidth="1.5"
        strokeLinecap="round" strokeLinejoin="round" aria-hidden="true" focusable="false">
        {children}
      </svg>
    )
  }
}

export const OverviewIcon = icon(<path d="M2.500 11h3l2-6 3.500 10 2.500-7 1.300 3h2.700" />)
export const AlertIcon = icon(<><path d="M10 3.200 17.500 16.500h-15z" /><path d="M10 8.500v3.500M10 14.300v.1" /></>)
export const InboxIcon = icon(<path d="M3 11.500 5.500 4h9l2.500 7.500v5H3zM3 11.500h4.200a2.800 2.800 0 0 0 5.600 0H17" />)
export const IncidentIcon = icon(<><circle cx="4.500" cy="10" r="2" /><circle cx="15" cy="4.500" r="2" /><circle cx="15" cy="15.500" r="2" /><path d="M6.300 9.100 13.200 5.400M6.300 10.900l6.900 3.700" /></>)
export const AttackIcon = icon(<path d="M3.500 4h3v3h-3zM8.500 4h3v3h-3zM13.500 4h3v3h-3zM3.500 9h3v3h-3zM8.500 9h3v3h-3zM3.500 14h3v2.500h-3z" />)
export const RuleIcon = icon(<><path d="M3.500 5h7M3.500 9h5M3.500 13h4" /><path d="m10 14.500.500-2.500 5.500-5.500 2 2-5.500 5.500z" /></>)
export const CaptureIcon = icon(<><path d="M3 5.500h14M3 10h14M3 14.500h8" /><circle cx="15" cy="14.500" r="2" /></>)
export const FlowIcon = icon(<path d="M3 6.500h12M12 3.500l3 3-3 3M17 13.500H5M8 10.500l-3 3 3 3" />)
export const DeviceIcon = icon(<><rect x="3" y="4" width="14" height="9" rx="1.200" /><path d="M7.500 16.500h5M10 13v3.500" /></>)
export const PluginIcon = icon(<path d="M7 3.500v3.500M13 3.500v3.500M5 7h10v3.500a5 5 0 0 1-10 0zM10 15.500v2" />)
export const MarketIcon = icon(<><path d="M3.500 8v8.500h13V8" /><path d="M2.500 8 4.500 3.500h11L17.500 8c0 1.400-1.100 2.300-2.500 2.300S12.500 9.400 12.500 8c0 1.400-1.100 2.300-2.500 2.300S7.500 9.400 7.500 8c0 1.400-1.100 2.300-2.500 2.300S2.500 9.400 2.500 8zM8 16.500v-3.500h4v3.500" /></>)
export const CommandIcon = icon(<><rect x="2.800" y="3.500" width="14.400" height="13" rx="1.500" /><path d="m6 8 2.500 2L6 12M10.500 12.500H14" /></>)
export const FleetIcon = icon(<><rect x="2.800" y="3" width="5.500" height="5.500" rx="1" /><rect x="11.700" y="3" width="5.500" height="5.500" rx="1" /><rect x="2.800" y="11.500" width="5.500" height="5.500" rx="1" /><rect x="11.700" y="11.500" width="5.500" height="5.500" rx="1" /></>)
export const GroupIcon = icon(<><rect x="7" y="2.800" width="6" height="4.500" rx="1" /><rect x="2.800" y="12.700" width="6" height="4.500" rx="1" /><rect x="11.200" y="12.700" width="6" height="4.500" rx="1" /><path d="M10 7.300v2.700M5.800 12.700V10h8.400v2.700" /></>)
export const SearchIcon = icon(<><circle cx="9" cy="9" r="5.500" /><path d="m13.200 13.200 3.800 3.800" /></>)
export const FlagIcon = icon(<path d="M5 17.500V3.500M5 4c3-1.500 5 1.500 9.500 0v7.500c-4.500 1.500-6.500-1.500-9.500 0" />)
export const MachineIcon = icon(<><rect x="3" y="3.500" width="14" height="5.500" rx="1.200" /><rect x="3" y="11" width="14" height="5.500" rx="1.200" /><path d="M6 6.300h.1M6 13.800h.1M9 6.300h5M9 13.800h5" /></>)
export const TokenIcon = icon(<><circle cx="7" cy="13" r="3.500" /><path d="M9.500 10.500 16.500 3.500M13.500 6.500l2.500 2.500M11.500 8.500l1.500 1.500" /></>)
export const AuditIcon = icon(<><path d="M5 2.800h7l3.500 3.500v11H5z" /><path d="M8 9.500h5M8 12.500h5M12 3v3.500h3.500" /></>)
export const HealthIcon = icon(<><path d="M3.500 14.500a7 7 0 1 1 13 0" /><path d="m10 13 3.500-4.500" /><path d="M10 13h.1" /></>)
export const SettingsIcon = icon(<><path d="M3 6h8M15 6h2M3 14h2M9 14h8" /><circle cx="13" cy="6" r="2" /><circle cx="7" cy="14" r="2" /></>)
export const SunIcon = icon(<><circle cx="10" cy="10" r="3.200" /><path d="M10 2.500v1.800M10 15.700v1.800M2.500 10h1.800M15.700 10h1.800M4.700 4.700 6 6M14 14l1.300 1.300M4.700 15.300 6 14M14 6l1.300-1.300" /></>)
export const MoonIcon = icon(<path d="M16.500 12.300A7 7 0 0 1 7.700 3.500a7 7 0 1 0 8.800 8.800z" />)
export const SystemIcon = icon(<><circle cx="10" cy="10" r="7" /><path d="M10 3v14" /><path d="M10 3a7 7 0 0 1 0 14z" fill="currentColor" /></>)
export const MenuIcon = icon(<path d="M3 6h14M3 10h14M3 14h14" />)
export const CloseIcon = icon(<path d="m5 5 10 10M15 5 5 15" />)
export const CopyIcon = icon(<><rect x="7" y="7" width="9.500" height="9.500" rx="1.200" /><path d="M13 4.500V3.500H3.500V13h1" /></>)
export const CheckIcon = icon(<path d="m4 10.500 4 4 8-9" />)
export const UploadIcon = icon(<path d="M10 13V3.500M6 7.200 10 3.200l4 4M3.500 12.500v4h13v-4" />)
export const UserIcon = icon(<><circle cx="10" cy="7" r="3.200" /><path d="M3.500 17c.8-3.500 3.300-5 6.500-5s5.700 1.500 6.500 5" /></>)
export const TenantIcon = icon(<path d="M3 17V6l5-3v14M8 8l9 2v7M3 17h14M5.500 8v0M5.500 12v0M11.500 13v4" />)
export const PlusIcon = icon(<path d="M10 4v12M4 10h12" />)
export const ArrowIcon = icon(<path d="M4 10h12M11.500 5.500 16 10l-4.500 4.500" />)
export const OutIcon = icon(<path d="M8 4H4v12h12v-4M11 4h5v5M16 4l-7 7" />)
export const RefreshIcon = icon(<path d="M16.500 10a6.500 6.500 0 1 1-2-4.700M16.500 3v3.500H13" />)
export const ShieldIcon = icon(<path d="M10 2.800 16.500 5v5c0 3.700-2.500 6.200-6.500 7.500C6 16.200 3.500 13.700 3.500 10V5z" />)
export const SignOutIcon = icon(<path d="M12 4H4v12h8M9 10h8M14 7l3 3-3 3" />)

/** The mark: three pickets, which are also three bars of a chart. */
export function Mark({ size = 26 }: { size?: number }) {
  return (
    <svg width={size} height={size} viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <path fill="currentColor" d="M5 28V16l3.500-4.500L12 16v12zM12.500 28V8L16 3.500 19.500 8v20zM20 28V16l3.500-4.500L27 16v12z" opacity="1" />
    </svg>
  )
}
