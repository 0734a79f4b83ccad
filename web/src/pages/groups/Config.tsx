// What all machines, a group or one machine are to run: now, before, and what is on its way.
import '../../locales/groups'
import '../../locales/machines'
import { Button, Group, Modal, NativeSelect } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useNavigate, useParams, useSearch } from '@tanstack/react-router'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { comparison, config, configActions, configVersions, type Config, type ConfigVersion } from '../../api/groups'
import { ApiError } from '../../api/http'
import { rollouts } from '../../api/market'
import { agent, me } from '../../api/queries'
import { useMay } from '../../api/useMay'
import { whose, type Configured } from '../../lib/groups'
import { isOperator } from '../../lib/roles'
import { StateMark } from '../../ui/marks'
import { Page, Panel } from '../../ui/Page'
import { Empty, Loaded, Problem } from '../../ui/states'
import { Ago } from '../../ui/Time'
import ui from '../../ui/ui.module.css'
import fleetCss from '../fleet/fleet.module.css'
import { RolloutRow } from '../fleet/Rollouts'
import { ChangeDialog, Conflict, RemoveDialog, useChange } from './Change'
import { Diff } from './Diff'
import css from './groups.module.css'
import { Runs } from './Runs'
import { StagingFields, useStaging } from './Staging'

export function ConfigPage() {
  const { t } = useTranslation()
  const { target } = useParams({ from: '/inside/config/$target' })
  const who = whose(target)
  const machine = useQuery({ ...agent(target), enabled: who.of === 'machine' }).data
  const query = useQuery(config(target))
  const versions = useQuery(configVersions(target))
  const can = useMay()
  const mayChange = can('plugins:admin')
  const [changing, setChanging] = useState<Configured | null>(null)
  const [removing, setRemoving] = useState<Configured | null>(null)
  const back = who.of === 'machine' ? { to: `/machines/${target}`, label: machine?.name ?? t('machine.title') }
    : { to: `/groups/${who.of === 'group' ? who.name : 'all'}`, label: who.of === 'group' ? who.name : t('group.all') }
  return (
    <Page title={t(`configs.${who.of}`, { name: machine?.name ?? who.name })} lead={t('configs.lead')} back={back}>
      <OnItsWay target={target} />
      <Panel title={t('configs.runs')} flush>
        <Loaded query={query} rows={5}>
          {(c) => (
            <>
              <Runs config={c} onChange={mayChange ? setChanging : undefined} onRemove={setRemoving} />
              {changing && <ChangeDialog config={c} plugin={changing} onClose={() => setChanging(null)} />}
              {removing && <RemoveDialog config={c} plugin={removing} onClose={() => setRemoving(null)} />}
            </>
          )}
        </Loaded>
      </Panel>
      <Panel title={t('configs.history')} hint={t('configs.historyHint')} flush>
        <Loaded query={versions}>
          {({ items }) => (items.length === 0 ? <Empty title={t('configs.noHistory')}>{t('configs.noHistoryText')}</Empty>
            : query.data && <History config={query.data} versions={items} mayChange={mayChange} />)}
        </Loaded>
      </Panel>
      {versions.data && versions.data.items.length > 0 && query.data && <Compare config={query.data} versions={versions.data.items} />}
    </Page>
  )
}

/** Rollouts of this very configuration; plugins' own are on the fleet's page. */
function OnItsWay({ target }: { target: string }) {
  const { t } = useTranslation()
  const { data: who } = useQuery(me)
  const { data } = useQuery({ ...rollouts, enabled: isOperator(who) })
  const own = (data?.items ?? []).filter((r) => r.target === target).slice(0, 3)
  if (own.length === 0) return null
  return (
    <Panel title={t('configs.rollouts')} flush>
      <ul className={fleetCss.rollouts}>{own.map((r) => <RolloutRow key={r.id} rollout={r} />)}</ul>
    </Panel>
  )
}

const tones = { applied: 'good', staged: 'busy', dropped: 'bad' } as const

function History({ config: c, versions, mayChange }: { config: Config; versions: ConfigVersion[]; mayChange: boolean }) {
  const { t } = useTranslation()
  const [restoring, setRestoring] = useState<ConfigVersion | null>(null)
  const go = useCompared()[1]
  return (
    <>
      <table className={ui.table}>
        <caption className="visually-hidden">{t('configs.history')}</caption>
        <thead>
          <tr>
            <th scope="col">{t('configs.version')}</th>
            <th scope="col" className={ui.medium}>{t('configs.state')}</th>
            <th scope="col">{t('configs.when')}</th>
          </tr>
        </thead>
        <tbody>
          {versions.map((v) => {
            const now = v.version === c.version
            return (
              <tr key={v.version}>
                <td>
                  <strong className="num">{v.version}</strong>
                  {v.comment && <div className={`${ui.sub} break`}>{v.comment}</div>}
                </td>
                <td className={ui.medium}>{now ? <StateMark tone="good">{t('configs.now')}</StateMark> : v.state === 'applied' ? <span className="dim">{t('configs.states.applied')}</span> : <StateMark tone={tones[v.state]}>{t(`configs.states.${v.state}`)}</StateMark>}</td>
                <td><Ago at={v.created} /><div className={`${ui.sub} break`}>{v.by}</div>
                  <div className={css.deeds}>
                    <Button size="compact-xs" variant="default" onClick={() => go({ version: v.version })} aria-label={t('configs.compareOf', { version: v.version })}>{t('configs.compare')}</Button>
                    {mayChange && !now && <Button size="compact-xs" variant="default" onClick={() => setRestoring(v)} aria-label={t('configs.restoreOf', { version: v.version })}>{t('configs.restore')}</Button>}
                  </div>
                </td>
              </tr>
            )
          })}
        </tbody>
      </table>
      {restoring && <Restore config={c} version={restoring.version} onClose={() => setRestoring(null)} />}
    </>
  )
}

interface Compared {
  version?: number
  against?: number
}

/** Which two are compared stands in the address. */
function useCompared(): [Compared, (to: Compared) => void] {
  const at = useSearch({ from: '/inside/config/$target' })
  const navigate = useNavigate({ from: '/config/$target' })
  return [at, (search) => void navigate({ search, replace: true, resetScroll: false })]
}

function Compare({ config: c, versions }: { config: Config; versions: ConfigVersion[] }) {
  const { t } = useTranslation()
  const [at, go] = useCompared()
  const version = at.version ?? versions[0]!.version
  const against = at.against ?? 0
  const query = useQuery(comparison(c.target, version, against))
  const choices = versions.map((v) => ({ value: String(v.version), label: v.version === c.version ? t('configs.nowVersion', { version: v.version }) : String(v.version) }))
  return (
    <Panel title={t('configs.compare')}>
      <div className={css.between}>
        <NativeSelect label={t('configs.in')} value={String(version)} data={choices} onChange={(e) => go({ ...at, version: Number(e.currentTarget.value) })} />
        <NativeSelect label={t('configs.against')} value={String(against)} data={[{ value: '0', label: t('configs.before') }, ...choices]} onChange={(e) => go({ ...at, against: Number(e.currentTarget.value) || undefined })} />
      </div>
      <Loaded query={query}>{(d) => <Diff diff={d} />}</Loaded>
    </Panel>
  )
}

function Restore({ config: c, version, onClose }: { config: Config; version: number; onClose: () => void }) {
  const { t } = useTranslation()
  const [at] = useState(c.version)
  const staging = useStaging()
  const preview = useQuery(comparison(c.target, version, at))
  const send = useChange(c.target, onClose)
  const overtaken = send.error instanceof ApiError && send.error.status === 412
  return (
    <Modal opened onClose={onClose} size="lg" title={t('configs.restoreTitle', { version })} closeButtonProps={{ 'aria-label': t('close') }}>
      <div className={ui.form}>
        <p>{t('configs.restoreText')}</p>
        <Loaded query={preview}>{(d) => <Diff diff={d} />}</Loaded>
        <StagingFields value={staging.value} onChange={staging.setValue} alone={whose(c.target).of === 'machine'} />
        {overtaken ? <Conflict target={c.target} at={at} /> : send.isError && <Problem error={send.error} />}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>{overtaken ? t('configs.again') : t('cancel')}</Button>
          {!overtaken && <Button loading={send.isPending} onClick={() => send.mutate(() => configActions.restore(c.target, at, version, staging.comment, staging.rollout))}>{staging.rollout ? t('configs.roll') : t('configs.restore')}</Button>}
        </Group>
      </div>
    </Modal>
  )
}
