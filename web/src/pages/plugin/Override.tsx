// A revoked version stops everywhere. An administrator may let it run on, by name and with a reason that everybody sees.
import { Button, Group, Modal, NativeSelect, Textarea } from '@mantine/core'
import { useInfiniteQuery, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { fleet, fleetActions, type Override } from '../../api/market'
import { agents } from '../../api/queries'
import type { Plugin } from '../../api/types'
import { useMay } from '../../api/useMay'
import '../../locales/market'
import { StateMark } from '../../ui/marks'
import { Problem } from '../../ui/states'
import { Time } from '../../ui/Time'
import { useTell } from '../../ui/toasts'
import ui from '../../ui/ui.module.css'
import css from '../plugins.module.css'

interface Revoked {
  /** "" for every version that there is. */
  version: string
  why: string
}

/** What is revoked of it: the versions that still stand somewhere, or else all that the registry has. */
function revokedOf(p: Plugin): Revoked[] {
  const all = p.instances.filter((i) => i.state === 'revoked').map((i) => ({ version: i.version, why: i.reason ?? '' }))
  if (p.revoked && all.length === 0) all.unshift({ version: p.version, why: p.revoked })
  return all.filter((r, n) => all.findIndex((other) => other.version === r.version) === n)
}

/** Why it is revoked, who lets it run on all the same, and the way to do either. */
export function Revocation({ plugin: p }: { plugin: Plugin }) {
  const { t } = useTranslation()
  const can = useMay()
  const { data } = useQuery(fleet)
  const [asking, setAsking] = useState<Revoked | null>(null)
  const standing = data?.plugins.find((f) => f.id === p.id)?.overrides ?? []
  return (
    <>
      {revokedOf(p).map((r) => (
        <div key={r.version} className={ui.error} role="alert">
          <strong>{r.version ? t('override.revoked', { version: r.version }) : t('override.allRevoked')}</strong>
          <span className="break">{r.why}</span>
          {can('administer') && r.version && !standing.some((o) => o.version === r.version && !o.node) && (
            <Button variant="default" size="xs" mt={6} onClick={() => setAsking(r)}>{t('override.do')}</Button>
          )}
        </div>
      ))}
      {standing.map((o) => <Standing key={`${o.version} ${o.node}`} plugin={p} override={o} />)}
      {asking && <OverrideDialog plugin={p} revoked={asking} onClose={() => setAsking(null)} />}
    </>
  )
}

function Standing({ plugin: p, override: o }: { plugin: Plugin; override: Override }) {
  const { t } = useTranslation()
  const can = useMay()
  const tell = useTell()
  const client = useQueryClient()
  const [busy, setBusy] = useState(false)
  const end = async () => {
    setBusy(true)
    try {
      await fleetActions.endOverride(p.id, o.version)
      tell.done(t('override.ended'))
      await Promise.all([client.invalidateQueries({ queryKey: ['fleet'] }), client.invalidateQueries({ queryKey: ['plugins'] })])
    } catch (error) {
      tell.failed(error)
    } finally {
      setBusy(false)
    }
  }
  return (
    <div className={css.reason} data-bad="" role="note">
      <StateMark tone="bad">{t('override.standing')}</StateMark> <span className="num">{o.version}</span>
      {o.node && <span className="dim"> {t('override.at', { node: o.node })}</span>}
      <p><span className="dim">{t('override.by', { by: o.by })} <Time at={o.time} /></span></p>
      <p>{o.reason}</p>
      {can('administer') && <Button variant="default" size="compact-xs" mt={4} loading={busy} onClick={() => void end()}>{t('override.end')}</Button>}
    </div>
  )
}

const least = 10

function OverrideDialog({ plugin: p, revoked: { version, why }, onClose }: { plugin: Plugin; revoked: Revoked; onClose: () => void }) {
  const { t } = useTranslation()
  const tell = useTell()
  const client = useQueryClient()
  const machines = useInfiniteQuery(agents)
  const [reason, setReason] = useState('')
  const [node, setNode] = useState('')
  const [tried, setTried] = useState(false)
  const [busy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const short = reason.trim().length < least
  const send = async (event: FormEvent) => {
    event.preventDefault()
    setTried(true)
    if (short) return
    setBusy(true)
    setError(null)
    try {
      await fleetActions.override(p.id, version, reason.trim(), node || undefined)
      tell.done(t('override.done', { version }))
      onClose()
      await Promise.all([client.invalidateQueries({ queryKey: ['fleet'] }), client.invalidateQueries({ queryKey: ['plugins'] })])
    } catch (e) {
      setError(e)
      setBusy(false)
    }
  }
  return (
    <Modal opened onClose={onClose} title={t('override.title', { version })} closeButtonProps={{ 'aria-label': t('close') }}>
      <form onSubmit={(e) => void send(e)} className={ui.form} noValidate>
        <p className="break">{t('override.text', { why })}</p>
        <NativeSelect label={t('override.where')} value={node} onChange={(e) => setNode(e.currentTarget.value)}
          data={[{ value: '', label: t('override.everywhere') }, { value: 'server', label: t('override.server') }, ...(machines.data ?? []).map((m) => ({ value: m.id, label: m.name }))]} />
        <Textarea label={t('override.reason')} description={t('override.reasonText')} required autosize minRows={2} maxLength={500} value={reason}
          error={tried && short ? t('override.short', { count: least }) : undefined} onChange={(e) => setReason(e.currentTarget.value)} />
        <p className="dim">{t('override.ceiling')}</p>
        {error !== null && <Problem error={error} />}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>{t('cancel')}</Button>
          <Button type="submit" color="red.9" loading={busy}>{t('override.do')}</Button>
        </Group>
      </form>
    </Modal>
  )
}
