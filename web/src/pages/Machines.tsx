// Every machine that is enrolled: found by typing, narrowed, chosen by the hundred, and kept up to date row by row.
import { Button, Menu, NativeSelect, SegmentedControl, TextInput } from '@mantine/core'
import { useDebouncedCallback } from '@mantine/hooks'
import { useQuery } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { lazy, Suspense, useState } from 'react'
import { useTranslation } from 'react-i18next'
import { machineFile, machineSummary, type Counted } from '../api/machines'
import { useMay } from '../api/useMay'
import { count } from '../lib/format'
import { machineStates, machineViewQuery, narrowed, pluginHealth, readMachineAddress, type MachineAddress } from '../lib/machineFilter'
import '../locales/machines'
import '../locales/traffic'
import { PlusIcon } from '../ui/icons'
import { Page, Panel } from '../ui/Page'
import { Empty, Problem } from '../ui/states'
import { ViewsMenu } from './flows/Views'
import { Chosen } from './machines/Chosen'
import { MachineList } from './machines/MachineList'
import css from './machines/machines.module.css'

const AddMachine = lazy(() => import('./machines/AddMachine'))

export function MachinesPage() {
  const { t } = useTranslation()
  const can = useMay()
  const address = useSearch({ from: '/inside/machines' })
  const navigate = useNavigate({ from: '/machines' })
  const go = (to: MachineAddress, push = false) => void navigate({ search: to, replace: !push, resetScroll: false })
  const summary = useQuery(machineSummary(address))
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set())
  const may = can('agents:admin')
  const add = can('operate') && <Button leftSection={<PlusIcon />} onClick={() => go({ ...address, add: true })}>{t('machines.add')}</Button>
  const found = summary.data?.total
  return (
    <Page
      title={t('machines.title')}
      lead={t('machines.lead')}
      actions={
        <>
          <ViewsMenu page="machines" query={machineViewQuery(address)}
            link={(query, name, onOpen) => <Link to="/machines" search={readMachineAddress(Object.fromEntries(new URLSearchParams(query)))} className="break" onClick={onOpen}>{name}</Link>} />
          <Menu position="bottom-end">
            <Menu.Target><Button variant="default">{t('list.export')}</Button></Menu.Target>
            <Menu.Dropdown>
              {(['csv', 'json'] as const).map((format) => <Menu.Item key={format} component="a" href={machineFile(address, format)} download>{t(`list.${format}`)}</Menu.Item>)}
            </Menu.Dropdown>
          </Menu>
          {can('operate') && <Button component={Link} to="/enrolment" variant="default">{t('list.tokens')}</Button>}
          {add}
        </>
      }
    >
      {address.add && can('operate') && <Suspense><AddMachine onClose={() => go({ ...address, add: undefined })} /></Suspense>}
      <Filters address={address} go={go} states={summary.data?.states} groups={summary.data?.groups} systems={summary.data?.systems}
        versions={summary.data?.versions} labels={summary.data?.labels} />
      <Panel title={t('machines.list')} flush hint={found !== undefined && found > 0 && <span className="num">{t('list.shown', { count: found, formatted: count(found) })}</span>}>
        {summary.isError && <Problem error={summary.error} retry={() => void summary.refetch()} />}
        {found === 0 && !summary.isPlaceholderData
          ? narrowed(address)
            ? <Empty title={t('list.noneLike')} action={<Button variant="default" onClick={() => go({ sort: address.sort })}>{t('list.clear')}</Button>}>{t('list.noneLikeText')}</Empty>
            : <Empty title={t('machines.none')} action={add}>{t('machines.noneText')}</Empty>
          : <MachineList address={address} total={found ?? 0} chosen={may ? chosen : undefined} onChoose={setChosen} onSort={(sort) => go({ ...address, sort })} />}
        {may && chosen.size > 0 && <Chosen ids={[...chosen]} groups={summary.data?.groups ?? []} onDone={() => setChosen(new Set())} />}
      </Panel>
    </Page>
  )
}

interface FiltersProps {
  address: MachineAddress
  go: (to: MachineAddress) => void
  states: Record<string, number> | undefined
  groups: Counted[] | undefined
  systems: Counted[] | undefined
  versions: Counted[] | undefined
  labels: Counted[] | undefined
}

function Filters({ address, go, states, ...values }: FiltersProps) {
  const { t } = useTranslation()
  const [typed, setTyped] = useState(address.q ?? '')
  const [asked, setAsked] = useState(address.q)
  if (asked !== address.q) { // a view, or the way back
    setAsked(address.q)
    if (address.q !== (typed.trim() || undefined)) setTyped(address.q ?? '')
  }
  const search = useDebouncedCallback((q: string) => go({ ...address, q: q.trim() || undefined }), 200)
  const all = states && machineStates.reduce((n, s) => n + (states[s] ?? 0), 0)
  const label = (name: string, n: number | undefined) => (n === undefined ? name : t('list.valueCount', { value: name, formatted: count(n) }))
  const select = (field: 'group' | 'system' | 'version' | 'label', list: Counted[] = []) => {
    const now = address[field]
    const known = list.map((c) => ({ value: c.value, label: t('list.valueCount', { value: c.value, formatted: count(c.count) }) }))
    return (
      <NativeSelect key={field} aria-label={t(`list.by.${field}`)} value={now ?? ''} onChange={(e) => go({ ...address, [field]: e.currentTarget.value || undefined })}
        data={[{ value: '', label: t(`list.any.${field}`) }, ...(now && !known.some((k) => k.value === now) ? [{ value: now, label: now }] : []), ...known]} />
    )
  }
  return (
    <search aria-label={t('list.filters')}>
      <div className={css.filters}>
        <TextInput className={css.search} type="search" aria-label={t('list.search')} placeholder={t('list.search')} value={typed} maxLength={200} spellCheck={false} autoComplete="off"
          onChange={(e) => {
            setTyped(e.currentTarget.value)
            search(e.currentTarget.value)
          }} />
        {select('group', values.groups)}
        {select('system', values.systems)}
        {select('version', values.versions)}
        {select('label', values.labels)}
        <NativeSelect aria-label={t('list.by.plugins')} value={address.plugins ?? ''} onChange={(e) => go({ ...address, plugins: pluginHealth.find((h) => h === e.currentTarget.value) })}
          data={[{ value: '', label: t('list.any.plugins') }, ...pluginHealth.map((h) => ({ value: h as string, label: t(`list.plugins.${h}`) }))]} />
      </div>
      <SegmentedControl mt={8} size="xs" aria-label={t('machines.state')} value={address.state ?? 'all'} onChange={(v) => go({ ...address, state: machineStates.find((s) => s === v) })}
        data={[{ value: 'all', label: label(t('list.all'), all) }, ...machineStates.map((s) => ({ value: s as string, label: label(t(`state.${s}`), states && (states[s] ?? 0)) }))]} />
    </search>
  )
}
