// An update before it happens: what it may do more or less, what its author changed, and how it reaches the machines.
import { Button, Group, Modal, Radio } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { plugins as act } from '../../api/actions'
import { fleet, market, plan, rollout, type MarketPlugin, type Plan } from '../../api/market'
import { plugin } from '../../api/queries'
import type { Permission } from '../../api/types'
import { changesBetween } from '../../lib/market'
import '../../locales/market'
import '../../locales/plugins'
import { Markdown } from '../../ui/Markdown'
import { PermissionText } from '../../ui/Permissions'
import { Loaded, Problem } from '../../ui/states'
import { useTell } from '../../ui/toasts'
import ui from '../../ui/ui.module.css'
import { ShadowReportView } from '../plugin/Versions'
import { CanaryFields, firstCanary } from './CanaryFields'
import css from './card.module.css'
import { Brings, Conflicts } from './InstallDialog'
import { Progress } from './Progress'
import { pointOut, useConsent } from './useConsent'
import { useSettings } from './useSettings'

interface Props {
  plugin: MarketPlugin
  to: string
  onClose: () => void
}

export default function UpdateDialog({ plugin: p, to, onClose }: Props) {
  const { t } = useTranslation()
  const [job, setJob] = useState<string | null>(null)
  const query = useQuery(plan(p.id, { version: to }))
  // Once it is done, what is installed is the new one.
  const [from] = useState(p.installed?.version ?? '')
  return (
    <Modal opened onClose={onClose} size="xl" title={t('update.title', { name: p.title || p.id, from, to })} closeButtonProps={{ 'aria-label': t('close') }}>
      {job
        ? <Progress job={job} runs onClose={onClose} onRetry={() => setJob(null)} />
        : <Loaded query={query} rows={8}>{(ready) => <Form plugin={p} plan={ready} from={from} onClose={onClose} onJob={setJob} />}</Loaded>}
    </Modal>
  )
}

type Way = 'now' | 'canary' | 'shadow'

function Form({ plugin: p, plan: ready, from, onClose, onJob }: Omit<Props, 'to'> & { plan: Plan; from: string; onJob: (id: string) => void }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const tell = useTell()
  const to = ready.version
  const ways = useWays(p)
  const [way, setWay] = useState<Way>('now')
  const [canary, setCanary] = useState(firstCanary)
  const settings = useSettings({ schema: ready.config_schema, config: ready.config, stored: ready.secrets_set, kept: true })
  const consent = useConsent(ready.permissions.added)
  const notes = changesBetween(p.changelog ?? '', from, to)
  const go = useMutation({
    mutationFn: async (wish: { grants?: string[] | 'all'; config?: Record<string, unknown>; secrets?: Record<string, string> }) => {
      if (way === 'shadow') await act.shadow(p.id, ways.shadow!, to)
      else if (way === 'canary') {
        await rollout.start({ plugin: p.id, version: to, group: canary.group, canary_percent: Number(canary.canary_percent), soak: canary.soak || '10m', max_failures: Number(canary.max_failures), grants: wish.grants })
      } else return (await market.install(p.id, { version: to, ...wish })).id
      return null
    },
    onSuccess: async (job) => {
      if (job) return onJob(job)
      tell.done(t(way === 'shadow' ? 'plugin.changed.shadow' : 'rollout.started'))
      onClose()
      await Promise.all(['plugins', 'fleet', 'market'].map((key) => client.invalidateQueries({ queryKey: [key] })))
    },
  })
  const send = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    pointOut(event.currentTarget)
    // A version on trial runs with the grants that there are.
    const grants = way === 'shadow' ? [] : consent.read(ready.permissions.kept)
    const made = settings.read()
    if (grants && made) go.mutate({ grants: ready.permissions.added.length > 0 ? grants : undefined, ...made })
  }
  const blocked = ready.conflicts.length > 0
  const report = ways.shadow?.shadow?.version === to ? ways.shadow.shadow : undefined
  return (
    <form onSubmit={send} className={ui.form} noValidate>
      {blocked && <Conflicts conflicts={ready.conflicts} />}
      <PermissionDiff plan={ready} asking={way !== 'shadow' && ready.permissions.added.length > 0 ? consent.view(t('update.newlyMay'), settings.draft) : undefined} />
      {notes && <section className={css.notes} aria-label={t('update.notes')}><h3>{t('update.notesBetween', { from, to })}</h3><div tabIndex={0}><Markdown source={notes} /></div></section>}
      {ready.changes.length > 0 && <section><h3>{t('update.settings')}</h3><ul className={css.points}>{ready.changes.map((c) => <li key={c}>{c}</li>)}</ul></section>}
      {settings.view(go.error)}
      <Brings plan={ready} id={p.id} />
      {report && <ShadowReportView report={report} />}
      <Radio.Group label={t('update.way')} value={way} onChange={(v) => setWay(v as Way)}>
        <div className={css.ways}>
          <Radio value="now" label={t('update.now')} description={t('update.nowText', { from })} />
          {ways.canary && <Radio value="canary" label={t('update.canary')} description={t('update.canaryText')} />}
          {ways.shadow && !report?.running && <Radio value="shadow" label={t('update.shadow')} description={t('update.shadowText', { from })} />}
        </div>
      </Radio.Group>
      {way === 'canary' && <CanaryFields value={canary} onChange={setCanary} />}
      {go.isError && <Problem error={go.error} />}
      <Group justify="flex-end" gap="xs">
        <Button variant="default" onClick={onClose}>{t('cancel')}</Button>
        <Button type="submit" loading={go.isPending} disabled={blocked}>{t(`update.do.${way}`)}</Button>
      </Group>
    </form>
  )
}

/** A canary needs several machines; a trial needs an instance on the server that can be compared. */
function useWays(p: MarketPlugin) {
  const { data: here } = useQuery(plugin(p.id))
  const { data: all } = useQuery(fleet)
  const users = all?.plugins.find((f) => f.id === p.id)?.versions.flatMap((v) => v.nodes) ?? []
  const agents = new Set(all?.nodes.filter((n) => n.type === 'agent').map((n) => n.id))
  const comparable = p.kind === 'detector' || p.kind === 'collector'
  return {
    canary: users.filter((u) => agents.has(u.id)).length > 0,
    shadow: comparable ? here?.instances.find((i) => i.node.type === 'server') : undefined,
  }
}

/** What is new is asked for, unless nothing is granted by this; what goes and what stays is told. */
function PermissionDiff({ plan: { permissions: d }, asking }: { plan: Plan; asking?: React.ReactNode }) {
  const { t } = useTranslation()
  const rows: ['added' | 'removed', Permission[]][] = [['added', asking ? [] : d.added], ['removed', d.removed]]
  return (
    <section className={css.permissionDiff} aria-label={t('update.permissions')}>
      <h3>{t('update.permissions')}</h3>
      {d.added.length === 0 && d.removed.length === 0 && <p>{t('update.samePermissions')}</p>}
      {asking}
      <ul>
        {rows.flatMap(([how, list]) => list.map((p, n) => (
          <li key={`${how}${n}`} data-how={how}>
            <b aria-hidden="true">{how === 'added' ? '+' : '−'}</b>
            <div className={ui.lines}><span className={css.how}>{t(`update.${how}`)}</span><PermissionText permission={how === 'removed' ? { ...p, reason: undefined } : p} risk={how === 'added'} /></div>
          </li>
        )))}
      </ul>
      {d.kept.length > 0 && <p className="dim">{t('update.kept', { count: d.kept.length })} <span className="mono">{[...new Set(d.kept.map((p) => p.cap))].join(', ')}</span></p>}
    </section>
  )
}
