// One group: who is in it and why, how they do together, and what they run.
import '../../locales/groups'
import '../../locales/machines'
import { Autocomplete, Button } from '@mantine/core'
import { useQueries, useQuery, useQueryClient } from '@tanstack/react-query'
import { Link, useNavigate, useParams } from '@tanstack/react-router'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { aggregate, config, groupActions, groups, type Groups } from '../../api/groups'
import { machineSummary } from '../../api/machines'
import { metricNames } from '../../api/queries'
import { useMay } from '../../api/useMay'
import { count, quantity } from '../../lib/format'
import { everybody, targetOf, type MachineGroup } from '../../lib/groups'
import type { MachineAddress } from '../../lib/machineFilter'
import { Confirm } from '../../ui/confirm'
import { Fact, Facts, Page, Panel } from '../../ui/Page'
import { Empty, Loaded } from '../../ui/states'
import { Ago } from '../../ui/Time'
import { useTell } from '../../ui/toasts'
import ui from '../../ui/ui.module.css'
import { Chosen } from '../machines/Chosen'
import { MachineList } from '../machines/MachineList'
import { Counts } from './Counts'
import { GroupDialog } from './GroupDialog'
import css from './groups.module.css'
import { Rules } from './Groups'
import { Runs } from './Runs'

export function GroupPage() {
  const { name } = useParams({ from: '/inside/groups/$name' })
  const query = useQuery(groups)
  return <Loaded query={query} rows={8}>{(all) => <Found key={name} all={all} name={name} />}</Loaded>
}

function Found({ all, name }: { all: Groups; name: string }) {
  const { t } = useTranslation()
  const can = useMay()
  const [asking, setAsking] = useState<'change' | 'delete' | null>(null)
  const g = all.items.find((i) => i.name === name)
  if (!g && name !== everybody) return (
    <Page title={name} back={{ to: '/groups', label: t('group.title') }}>
      <Empty title={t('group.gone')}>{t('group.goneText')}</Empty>
    </Page>
  )
  const target = targetOf(name)
  return (
    <Page title={g ? g.name : t('group.all')} lead={g?.description} back={{ to: '/groups', label: t('group.title') }}
      actions={
        <>
          {g && can('agents:admin') && <Button variant="default" onClick={() => setAsking('delete')}>{t('group.delete')}</Button>}
          {g && can('agents:admin') && <Button variant="default" onClick={() => setAsking('change')}>{t('group.change')}</Button>}
          <Button component={Link} to={`/config/${target}`}>{t('group.configuration')}</Button>
        </>
      }>
      {g && asking === 'change' && <GroupDialog group={g} onClose={() => setAsking(null)} />}
      {g && <Delete group={g} opened={asking === 'delete'} onClose={() => setAsking(null)} />}
      <div className={ui.columns}>
        <div className={ui.stack}>
          <WhatRuns target={target} />
          <Members name={name} />
        </div>
        <div className={ui.stack}>
          <Panel title={t('group.facts')}>
            <Facts>
              <Fact name={t('group.machines')}><Counts of={g ? g.counts : all.all} /></Fact>
              {g && (
                <>
                  <Fact name={t('group.parent')}><Link to="/groups/$name" params={{ name: g.parent }}>{g.parent === everybody ? t('group.all') : g.parent}</Link></Fact>
                  <Fact name={t('group.rules')}>{g.rules.length > 0 ? <Rules rules={g.rules} /> : t('group.byHand')}</Fact>
                  <Fact name={t('group.by')}>{g.by}</Fact>
                  <Fact name={t('group.updated')}><Ago at={g.updated} /></Fact>
                </>
              )}
            </Facts>
          </Panel>
          <Figures name={name} />
        </div>
      </div>
    </Page>
  )
}

function Delete({ group: g, opened, onClose }: { group: MachineGroup; opened: boolean; onClose: () => void }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const navigate = useNavigate()
  const tell = useTell()
  return (
    <Confirm opened={opened} onClose={onClose} danger title={t('group.deleteTitle', { name: g.name })} confirm={t('group.delete')}
      act={async () => {
        await groupActions.remove(g.name)
        tell.done(t('group.deleted', { name: g.name }))
        await navigate({ to: '/groups' })
        await client.invalidateQueries({ queryKey: ['agents'] })
      }}>
      {t('group.deleteText', { parent: g.parent === everybody ? t('group.all') : g.parent })}
    </Confirm>
  )
}

function WhatRuns({ target }: { target: string }) {
  const { t } = useTranslation()
  const query = useQuery(config(target))
  return (
    <Panel title={t('configs.runs')} actions={<Link to="/config/$target" params={{ target }}>{t('configs.history')}</Link>} flush>
      <Loaded query={query}>{(c) => <Runs config={c} />}</Loaded>
    </Panel>
  )
}

function Members({ name }: { name: string }) {
  const { t } = useTranslation()
  const can = useMay()
  const [address, setAddress] = useState<MachineAddress>(name === everybody ? {} : { group: name })
  const [chosen, setChosen] = useState<ReadonlySet<string>>(new Set())
  const summary = useQuery(machineSummary(address))
  const total = summary.data?.total
  const may = can('agents:admin')
  return (
    <Panel title={t('group.members')} flush hint={!!total && <span className="num">{t('list.shown', { count: total, formatted: count(total) })}</span>}>
      <Loaded query={summary}>
        {(s) => s.total === 0
          ? <Empty title={t('group.noMembers')} action={<Link to="/machines">{t('nav.machines')}</Link>}>{t('group.noMembersText')}</Empty>
          : <MachineList address={address} total={s.total} chosen={may ? chosen : undefined} onChoose={setChosen} onSort={(sort) => setAddress({ ...address, sort })} />}
      </Loaded>
      {may && chosen.size > 0 && <Chosen ids={[...chosen]} groups={summary.data?.groups ?? []} onDone={() => setChosen(new Set())} />}
    </Panel>
  )
}

/** Those that every machine has one of. */
const usual = ['system.cpu.load_average.1m', 'system.memory.linux.available', 'system.uptime']

/** The newest values of a few metrics over all machines of the group. */
function Figures({ name }: { name: string }) {
  const { t } = useTranslation()
  const can = useMay()
  const known = useQuery({ ...metricNames, enabled: can('metrics:read') }).data?.items.map((m) => m.metric) ?? []
  const [more, setMore] = useState<string[]>([])
  const [typed, setTyped] = useState('')
  const metrics = [...usual.filter((m) => known.includes(m)), ...more]
  const read = useQueries({ queries: metrics.map((m) => aggregate(name, m)) })
  if (!can('metrics:read')) return null
  const add = (m: string) => {
    if (!known.includes(m)) return
    setTyped('')
    if (!metrics.includes(m)) setMore([...more, m])
  }
  return (
    <Panel title={t('group.figures')} hint={t('group.figuresHint')}>
      <div className={ui.stack}>
        {metrics.map((m, i) => {
          const a = read[i]?.data
          return (
            <div key={m}>
              <h3 className={css.metric}>{m}</h3>
              {a && a.series > 0 ? (
                <dl className={`${css.pairs} num`}>
                  <dt>{t('group.least')}</dt><dd>{quantity(a.min, a.unit)}</dd>
                  <dt>{t('group.average')}</dt><dd>{quantity(a.avg, a.unit)}</dd>
                  <dt>{t('group.most')}</dt><dd>{quantity(a.max, a.unit)}</dd>
                  {a.unit !== '1' && <><dt>{t('group.sum')}</dt><dd>{quantity(a.sum, a.unit)}</dd></>}
                  <dt>{t('group.from')}</dt><dd>{count(a.agents)}</dd>
                </dl>
              ) : <p className="dim">{a ? t('group.noFigures') : t('loading')}</p>}
            </div>
          )
        })}
        <Autocomplete size="xs" label={t('group.another')} value={typed} data={known.filter((m) => !metrics.includes(m))} limit={50} onChange={setTyped} onOptionSubmit={add}
          onKeyDown={(e) => e.key === 'Enter' && add(typed)} spellCheck={false} />
      </div>
    </Panel>
  )
}
