// The first steps of a new server. Each can be left out and come back to; the last page shows what arrives.
import '../locales/operate'
import { Button, TextInput } from '@mantine/core'
import { useInfiniteQuery, useQuery, useQueryClient } from '@tanstack/react-query'
import { getRouteApi, Link } from '@tanstack/react-router'
import { useState, type ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import { operate, retention, site, type Site } from '../api/operate'
import { agents, overview, plugins } from '../api/queries'
import type { Plugin } from '../api/types'
import { count } from '../lib/format'
import { HostCharts } from '../charts/HostCharts'
import { MachineState, StateMark } from '../ui/marks'
import { Page, Panel } from '../ui/Page'
import { Empty, Loaded, Problem } from '../ui/states'
import ui from '../ui/ui.module.css'
import EnableDialog from './EnableDialog'
import { Retention } from './Settings'
import css from './settings/settings.module.css'

const here = getRouteApi('/inside/welcome')
export const steps = ['name', 'retention', 'watch', 'machine', 'mail'] as const
export type Step = (typeof steps)[number] | 'end'

export function WelcomePage() {
  const { t } = useTranslation()
  const known = useQuery(site)
  return (
    <Page title={t('welcome.title')} lead={t('welcome.lead')}>
      <Loaded query={known}>{(is) => <Steps is={is} />}</Loaded>
    </Page>
  )
}

function Steps({ is }: { is: Site }) {
  const { t } = useTranslation()
  const { step: wanted } = here.useSearch()
  const navigate = here.useNavigate()
  const client = useQueryClient()
  const [error, setError] = useState<unknown>(null)
  const now: Step = wanted ?? steps.find((s) => !is.done.includes(s) && !is.done.includes(`skipped:${s}`)) ?? 'end'
  const go = (step: Step) => void navigate({ search: { step } })
  const next = (step: Step): Step => (step === 'end' ? 'end' : (steps[steps.indexOf(step) + 1] ?? 'end'))
  const leave = async (skipped: boolean, name = is.name) => {
    if (now === 'end') return
    setError(null)
    try {
      const done = [...is.done.filter((d) => d !== now && d !== `skipped:${now}`), skipped && !is.done.includes(now) ? (`skipped:${now}` as const) : now]
      client.setQueryData(site.queryKey, await operate.site({ name, done }))
      go(next(now))
    } catch (e) {
      setError(e)
    }
  }
  const foot = (
    <div className={css.acts}>
      <Button variant="subtle" onClick={() => void leave(true)}>{t('welcome.skip')}</Button>
      <Button onClick={() => void leave(false)}>{t('welcome.next')}</Button>
    </div>
  )
  return (
    <>
      <nav aria-label={t('welcome.steps')}>
        <ol className={css.progress}>
          {([...steps, 'end'] as const).map((s) => (
            <li key={s}>
              <button type="button" aria-current={s === now ? 'step' : undefined} onClick={() => go(s)}>
                {s !== 'end' && is.done.includes(s) && <StateMark tone="good"><span className="visually-hidden">{t('welcome.done')}</span></StateMark>}
                {t(`welcome.step.${s}`)}
              </button>
            </li>
          ))}
        </ol>
      </nav>
      {error !== null && <Problem error={error} />}
      {now === 'name' && <Name is={is} onDone={(name) => void leave(false, name)} onSkip={() => void leave(true)} />}
      {now === 'retention' && <Keep foot={foot} />}
      {now === 'watch' && <Offer title={t('welcome.step.watch')} text={t('welcome.watchText')} fits={(p) => p.kind === 'collector' || p.kind === 'detector'} foot={foot} />}
      {now === 'machine' && <Machines foot={foot} />}
      {now === 'mail' && <Offer title={t('welcome.step.mail')} text={t('welcome.mailText')} fits={(p) => p.kind === 'notifier'} foot={foot} />}
      {now === 'end' && <End name={is.name} />}
    </>
  )
}

function Name({ is, onDone, onSkip }: { is: Site; onDone: (name: string) => void; onSkip: () => void }) {
  const { t } = useTranslation()
  const [name, setName] = useState(is.name)
  return (
    <Panel title={t('welcome.step.name')}>
      <form className={css.step} onSubmit={(e) => { e.preventDefault(); onDone(name.trim()) }}>
        <TextInput label={t('welcome.name')} description={t('welcome.nameText')} value={name} maxLength={80} onChange={(e) => setName(e.currentTarget.value)} />
        <div className={css.acts}>
          <Button variant="subtle" onClick={onSkip}>{t('welcome.skip')}</Button>
          <Button type="submit">{t('welcome.next')}</Button>
        </div>
      </form>
    </Panel>
  )
}

function Keep({ foot }: { foot: ReactNode }) {
  const { t } = useTranslation()
  const kept = useQuery(retention)
  return (
    <Panel title={t('welcome.step.retention')}>
      <p>{t('welcome.retentionText')}</p>
      <Loaded query={kept}>{({ items }) => <Retention key={JSON.stringify(items)} items={items} />}</Loaded>
      {foot}
    </Panel>
  )
}

function Offer({ title, text, fits, foot }: { title: string; text: string; fits: (p: Plugin) => boolean; foot: ReactNode }) {
  const { t } = useTranslation()
  const list = useInfiniteQuery(plugins)
  const [opened, setOpened] = useState<Plugin | null>(null)
  return (
    <Panel title={title} hint={<Link to="/plugins">{t('welcome.allPlugins')}</Link>}>
      <p>{text}</p>
      {opened && <EnableDialog plugin={opened} onClose={() => setOpened(null)} />}
      <Loaded query={list as never}>
        {(all: Plugin[]) => (
          <table className={ui.table}>
            <caption className="visually-hidden">{title}</caption>
            <thead><tr><th scope="col">{t('welcome.plugin')}</th><th scope="col">{t('welcome.state')}</th></tr></thead>
            <tbody>
              {all.filter(fits).map((p) => (
                <tr key={p.id}>
                  <td>{p.title || p.id}<div className={ui.sub}>{p.summary}</div></td>
                  <td>{p.enabled ? <StateMark tone="good">{t('welcome.on')}</StateMark> : <Button size="sm" variant="default" aria-label={t('welcome.enableIt', { name: p.title || p.id })} onClick={() => setOpened(p)}>{t('welcome.enable')}</Button>}</td>
                </tr>
              ))}
            </tbody>
          </table>
        )}
      </Loaded>
      {foot}
    </Panel>
  )
}

function Machines({ foot }: { foot: ReactNode }) {
  const { t } = useTranslation()
  const list = useInfiniteQuery({ ...agents, refetchInterval: 5000 })
  return (
    <Panel title={t('welcome.step.machine')}>
      <p>{t('welcome.machineText')}</p>
      <p><Link to="/machines" search={{ add: true }}>{t('welcome.addMachine')}</Link></p>
      {(list.data ?? []).length === 0 ? <Empty title={t('welcome.noMachine')}>{t('welcome.noMachineText')}</Empty>
        : <ul className={css.links}>{(list.data ?? []).slice(0, 5).map((a) => <li key={a.id}><Link to="/machines/$id" params={{ id: a.id }}>{a.name}</Link> <MachineState agent={a} /></li>)}</ul>}
      {foot}
    </Panel>
  )
}

function End({ name }: { name: string }) {
  const { t } = useTranslation()
  const list = useInfiniteQuery({ ...agents, refetchInterval: 5000 })
  const state = useQuery(overview)
  const first = list.data?.[0]
  return (
    <>
      <Panel title={name ? t('welcome.ready', { name }) : t('welcome.readyNoName')} hint={<Link to="/">{t('welcome.toOverview')}</Link>}>
        <p>{state.data && t('welcome.sum', { machines: count(state.data.agents.total), devices: count(state.data.devices), plugins: count(state.data.plugins.ready) })}</p>
      </Panel>
      <Panel title={t('welcome.live')}>
        {first ? <><p><Link to="/machines/$id" params={{ id: first.id }}>{first.name}</Link></p><HostCharts agent={first.id} rangeSeconds={900} /></> : <Empty title={t('welcome.noMachine')} action={<Link to="/machines" search={{ add: true }}>{t('welcome.addMachine')}</Link>}>{t('welcome.noMachineText')}</Empty>}
      </Panel>
    </>
  )
}
