// Keeping findings like one alert from becoming alerts for a while. What that would have hidden is shown before.
import '../../locales/incident'
import { Button, Group, Modal, NativeSelect, TextInput } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { keepPreviousData, useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useId, useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { suppress, suppressionPreview } from '../../api/incidents'
import { ApiError } from '../../api/http'
import type { Alert, Scope } from '../../api/types'
import { count } from '../../lib/format'
import { hostOf, networkOf } from '../../lib/incident'
import { SeverityMark } from '../../ui/marks'
import { Problem } from '../../ui/states'
import { Time } from '../../ui/Time'
import { useTell } from '../../ui/toasts'
import ui from '../../ui/ui.module.css'
import css from './incidents.module.css'

interface Props {
  like: Pick<Alert, 'detector' | 'rule' | 'src' | 'dst'>
  onClose: () => void
}

const terms = [1, 7, 30, 90, 365] as const

export default function SuppressDialog({ like, onClose }: Props) {
  const { t } = useTranslation()
  return (
    <Modal opened onClose={onClose} size="lg" title={t('suppress.title')} closeButtonProps={{ 'aria-label': t('close') }}>
      <Form like={like} onClose={onClose} />
    </Modal>
  )
}

function Form({ like, onClose }: Props) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const tell = useTell()
  const [what, setWhat] = useState<'rule' | 'detector' | 'anything'>('rule')
  const [source, setSource] = useState(hostOf(like.src))
  const [target, setTarget] = useState(like.src ? '' : hostOf(like.dst))
  const [reason, setReason] = useState('')
  const [days, setDays] = useState(7)
  const [tried, setTried] = useState(false)
  const scope: Scope = {
    ...(what !== 'anything' && { detector: like.detector }),
    ...(what === 'rule' && { rule: like.rule }),
    ...(source.trim() && { source: source.trim() }),
    ...(target.trim() && { target: target.trim() }),
  }
  const wide = Object.keys(scope).length === 0
  const [from] = useState(Date.now)
  const expires = new Date(from + days * 86_400_000)
  const add = useMutation({
    mutationFn: () => suppress.add(scope, reason.trim(), expires),
    onSuccess: async () => {
      tell.done(t('suppress.done', { date: expires.toLocaleDateString() }))
      onClose()
      await client.invalidateQueries({ queryKey: ['suppressions'] })
    },
  })
  const send = (event: FormEvent) => {
    event.preventDefault()
    setTried(true)
    if (!wide && reason.trim().length >= 3) add.mutate()
  }
  const wrong = (field: string) => (add.error instanceof ApiError ? add.error.fields.find((f) => f.path === `body.${field}`)?.message : undefined)
  return (
    <form onSubmit={send} className={ui.form} noValidate>
      <p className="dim">{t('suppress.lead')}</p>
      <NativeSelect label={t('suppress.what')} value={what} onChange={(e) => setWhat(e.currentTarget.value as typeof what)} error={tried && wide && t('suppress.tooWide')}
        data={[
          { value: 'rule', label: t('suppress.rule', { rule: like.rule, detector: like.detector }) },
          { value: 'detector', label: t('suppress.detector', { detector: like.detector }) },
          { value: 'anything', label: t('suppress.anything') },
        ]} />
      <div className={ui.fields}>
        <Side label={t('suppress.source')} of={hostOf(like.src)} value={source} onChange={setSource} error={wrong('source')} />
        <Side label={t('suppress.target')} of={hostOf(like.dst)} value={target} onChange={setTarget} error={wrong('target')} />
      </div>
      <TextInput data-autofocus label={t('suppress.reason')} description={t('suppress.reasonHint')} maxLength={500} required value={reason} onChange={(e) => setReason(e.currentTarget.value)}
        error={tried && reason.trim().length < 3 ? t('suppress.needReason') : wrong('reason')} />
      <NativeSelect label={t('suppress.until')} description={t('suppress.ends', { date: expires.toLocaleString() })} value={days} onChange={(e) => setDays(Number(e.currentTarget.value))}
        data={terms.map((n) => ({ value: String(n), label: t('suppress.days', { count: n }) }))} error={wrong('expires')} />
      <Preview scope={scope} />
      {add.isError && <Problem error={add.error} />}
      <Group justify="flex-end" gap="xs">
        <Button variant="default" onClick={onClose}>{t('cancel')}</Button>
        <Button type="submit" loading={add.isPending}>{t('suppress.submit')}</Button>
      </Group>
    </form>
  )
}

/** One side of the findings: a host, its network, or whatever somebody writes. */
function Side({ label, of, value, onChange, error }: { label: string; of: string; value: string; onChange: (value: string) => void; error: string | undefined }) {
  const { t } = useTranslation()
  const list = useId()
  return (
    <>
      <TextInput label={label} description={t('suppress.sideHint')} list={list} maxLength={200} value={value} onChange={(e) => onChange(e.currentTarget.value)} error={error} />
      <datalist id={list}>{[of, networkOf(of)].filter(Boolean).map((v) => <option key={v} value={v} />)}</datalist>
    </>
  )
}

function Preview({ scope }: { scope: Scope }) {
  const { t } = useTranslation()
  const [wanted] = useDebouncedValue(scope, 300)
  const wide = Object.keys(wanted).length === 0
  const { data, error } = useQuery({ ...suppressionPreview(wanted), enabled: !wide, placeholderData: keepPreviousData })
  return (
    <section className={css.preview} aria-live="polite">
      <h3>{t('suppress.preview')}</h3>
      {wide ? <p>{t('suppress.tooWide')}</p> : error ? <p>{(error as Error).message}</p> : data && (
        <>
          <p>{data.alerts === 0 ? t('suppress.previewNone', { of: count(data.of) })
            : t('suppress.previewCount', { count: data.alerts, alerts: count(data.alerts), of: count(data.of), findings: count(data.findings) })}</p>
          {data.alerts > 0 && data.alerts === data.of && <p><strong>{t('suppress.previewAll')}</strong></p>}
          <ul>{data.examples.map((a) => <li key={a.id} className="break"><SeverityMark severity={a.severity} label={false} /> {a.title} <span className="dim"><Time at={a.last_seen} /></span></li>)}</ul>
        </>
      )}
    </section>
  )
}
