/** The version that machines of a group should run: the group's own, or that of all. */
export function wantedIn(p: { wanted: string; wanted_by_group?: Record<string, string> }, group: string | undefined): string {
  return (group !== undefined && p.wanted_by_group?.[group]) || p.wanted
}
