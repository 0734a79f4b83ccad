// Installing: where it goes, what comes with it, which settings it needs and what it may do. Then the steps, live.
import { Button, Group, Modal, NativeSelect } from '@mantine/core'
import { useInfiniteQuery, useMutation, useQuery } from '@tanstack/react-query'
import { useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { fleet, market, plan, runs, type InstallWish, type MarketPlugin, type Plan } from '../../api/market'
import { agents } from '../../api/queries'
import { bytes } from '../../lib/format'
import '../../locales/market'
import '../../locales/plugins'
import { Loaded, Problem } from '../../ui/states'
import ui from '../../ui/ui.module.css'
import css from './card.module.css'
import { Progress } from './Progress'
import { pointOut, useConsent } from './useConsent'
import { useSettings } from './useSettings'

interface Props {
  plugin: MarketPlugin
  onClose: () => void
}

export default function InstallDialog({ plugin: p, onClose }: Props) {
  const { t } = useTranslation()
  const [job, setJob] = useState<string | null>(null)
  return (
    <Modal opened onClose={onClose} size="lg" title={t(job ? 'install.going' : 'install.title', { name: p.title || p.id, version: p.version })} closeButtonProps={{ 'aria-label': t('close') }}>
      {job
        ? <Progress job={job} runs={runs(p)} onClose={onClose} onRetry={() => setJob(null)} />
        : <Prepare plugin={p} onClose={onClose} onJob={setJob} />}
    </Modal>
  )
}

function Prepare({ plugin: p, onClose, onJob }: Props & { onJob: (id: string) => void }) {
  const [node, setNode] = useState('')
  const query = useQuery(plan(p.id, { version: p.version, node: node || undefined }))
  return (
    <div className={ui.form}>
      {(p.kind === 'collector' || p.kind === 'discovery') && <Where value={node || query.data?.node || 'agents'} onChange={setNode} />}
      <Loaded query={query} rows={6}>{(ready) => <Form key={node} plugin={p} plan={ready} node={node} onClose={onClose} onJob={onJob} />}</Loaded>
    </div>
  )
}

/** The machines: all, a group, or one. */
export function Where({ value, onChange }: { value: string; onChange: (node: string) => void }) {
  const { t } = useTranslation()
  const machines = useInfiniteQuery(agents)
  const { data } = useQuery(fleet)
  const groups = (data?.groups ?? []).filter((g) => g !== 'all')
  return (
    <NativeSelect label={t('enable.where')} value={value} onChange={(e) => onChange(e.currentTarget.value)} data={[
      { value: 'agents', label: t('enable.agents') },
      ...groups.map((g) => ({ value: `group:${g}`, label: t('install.group', { group: g }) })),
      ...(machines.data ?? []).map((m) => ({ value: m.id, label: m.name })),
    ]} />
  )
}

function Form({ plugin: p, plan: ready, node, onClose, onJob }: Props & { plan: Plan; node: string; onJob: (id: string) => void }) {
  const { t } = useTranslation()
  const settings = useSettings({ schema: ready.config_schema, config: ready.config, stored: ready.secrets_set })
  const asked = [...ready.permissions.added, ...ready.permissions.kept]
  const consent = useConsent(asked)
  const install = useMutation({
    mutationFn: (wish: InstallWish) => market.install(p.id, wish),
    onSuccess: ({ id }) => onJob(id),
  })
  const blocked = ready.conflicts.length > 0
  const send = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    pointOut(event.currentTarget)
    const grants = consent.read()
    const made = settings.read()
    if (!grants || !made) return
    install.mutate({ version: ready.version, node: node || undefined, grants, ...made })
  }
  return (
    <form onSubmit={send} className={ui.form} noValidate>
      {blocked && <Conflicts conflicts={ready.conflicts} />}
      <Brings plan={ready} id={p.id} />
      {settings.view(install.error)}
      {runs(p) && consent.view(t('enable.may'), settings.draft)}
      {install.isError && <Problem error={install.error} />}
      <Group justify="flex-end" gap="xs">
        <Button variant="default" onClick={onClose}>{t('cancel')}</Button>
        <Button type="submit" loading={install.isPending} disabled={blocked}>{t('card.install')}</Button>
      </Group>
    </form>
  )
}

export function Conflicts({ conflicts }: { conflicts: string[] }) {
  const { t } = useTranslation()
  return (
    <div className={ui.error} role="alert">
      <strong>{t('install.conflicts')}</strong>
      <ul>{conflicts.map((c) => <li key={c} className="break">{c}</li>)}</ul>
    </div>
  )
}

/** What is fetched, with what the plugin needs. */
export function Brings({ plan: ready, id }: { plan: Plan; id: string }) {
  const { t } = useTranslation()
  if (ready.install.length === 0) return null
  const size = bytes(ready.install.reduce((sum, i) => sum + i.size, 0))
  const registry = [...new Set(ready.install.map((i) => i.registry))].join(', ')
  return (
    <section className={css.brings} aria-label={t('install.brings')}>
      <h3>{ready.install.length === 1 ? t('install.fetches', { size, registry }) : t('install.fetchesAll', { count: ready.install.length, size, registry })}</h3>
      {ready.install.length > 1 && (
        <ul>
          {ready.install.map((i) => (
            <li key={i.id}>
              <span><span className="mono">{i.id}</span> <span className="num dim">{i.version}</span></span>
              <span className="num dim">{bytes(i.size)}</span>
              {i.id !== id && i.because && <span className="dim">{i.because}</span>}
            </li>
          ))}
        </ul>
      )}
    </section>
  )
}
