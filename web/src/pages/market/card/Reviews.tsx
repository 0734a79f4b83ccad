// What those say who have it running. The registry counts each node once, and only after it has installed the plugin.
import { Button, Group, Modal, NativeSelect, Textarea } from '@mantine/core'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { market, reportReasons, reviews, type MarketPlugin, type ReportReason, type Review } from '../../../api/market'
import { useMay } from '../../../api/useMay'
import { short } from '../../../lib/market'
import { StarInput, StarRow, Stars } from '../../../ui/kinds'
import { Panel } from '../../../ui/Page'
import { Loaded, Problem } from '../../../ui/states'
import { Ago } from '../../../ui/Time'
import { useTell } from '../../../ui/toasts'
import ui from '../../../ui/ui.module.css'
import css from '../card.module.css'

export function Reviews({ plugin: p }: { plugin: MarketPlugin }) {
  const { t } = useTranslation()
  const can = useMay()
  const query = useQuery(reviews(p.id))
  const [writing, setWriting] = useState(false)
  return (
    <Panel title={t('card.reviews')} hint={<Stars rating={p.rating} words={false} />}
      actions={p.installed && can('operate') && !writing && <Button size="xs" variant="default" onClick={() => setWriting(true)}>{t('card.write')}</Button>}>
      {writing && <Write plugin={p} onDone={() => setWriting(false)} />}
      <Loaded query={query} rows={2}>
        {({ items }) => items.length === 0
          ? <p className="dim">{p.installed ? t('card.noReviews') : t('card.noReviewsYet')}</p>
          : <ul className={css.reviews}>{items.map((r) => <OneReview key={r.node} review={r} />)}</ul>}
      </Loaded>
    </Panel>
  )
}

function OneReview({ review: r }: { review: Review }) {
  const { t } = useTranslation()
  return (
    <li>
      <p className={css.reviewHead}>
        <StarRow value={r.stars} /><span className="visually-hidden">{t('market.starsOf', { stars: r.stars })}</span>
        <span className="dim num">{r.version}</span>
        <span className="dim"><Ago at={r.time} /></span>
        <span className="dim" title={r.node}>{t('card.fromNode')} <code>{short(r.node)}</code></span>
      </p>
      {r.text && <p className={css.reviewText}>{r.text}</p>}
    </li>
  )
}

function Write({ plugin: p, onDone }: { plugin: MarketPlugin; onDone: () => void }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const tell = useTell()
  const [stars, setStars] = useState(0)
  const [text, setText] = useState('')
  const [error, setError] = useState<unknown>(null)
  const [busy, setBusy] = useState(false)
  const send = async (event: FormEvent) => {
    event.preventDefault()
    setBusy(true)
    setError(null)
    try {
      await market.review(p.id, stars, text.trim())
      tell.done(t('card.reviewed'))
      onDone()
      await client.invalidateQueries({ queryKey: ['market'] })
    } catch (e) {
      setError(e)
    } finally {
      setBusy(false)
    }
  }
  return (
    <form onSubmit={(e) => void send(e)} className={`${ui.form} ${css.write}`}>
      <StarInput label={t('card.yourStars')} value={stars} onChange={setStars} />
      <Textarea label={t('card.yourWords')} description={t('card.yourWordsText')} autosize minRows={2} maxLength={2000} value={text} onChange={(e) => setText(e.currentTarget.value)} />
      {error !== null && <Problem error={error} />}
      <Group gap="xs">
        <Button type="submit" size="xs" loading={busy} disabled={stars === 0}>{t('card.send')}</Button>
        <Button size="xs" variant="default" onClick={onDone}>{t('cancel')}</Button>
      </Group>
    </form>
  )
}

/** Tells the registry's people that something is wrong with a release. */
export function ReportDialog({ plugin: p, onClose }: { plugin: MarketPlugin; onClose: () => void }) {
  const { t } = useTranslation()
  const tell = useTell()
  const [reason, setReason] = useState<ReportReason>(reportReasons[0])
  const [text, setText] = useState('')
  const [error, setError] = useState<unknown>(null)
  const [busy, setBusy] = useState(false)
  const send = async (event: FormEvent) => {
    event.preventDefault()
    setBusy(true)
    setError(null)
    try {
      await market.report(p.id, p.version, reason, text.trim())
      tell.done(t('card.reported'))
      onClose()
    } catch (e) {
      setError(e)
      setBusy(false)
    }
  }
  return (
    <Modal opened onClose={onClose} title={t('card.reportTitle', { name: p.title || p.id })} closeButtonProps={{ 'aria-label': t('close') }}>
      <form onSubmit={(e) => void send(e)} className={ui.form}>
        <p className="dim">{t('card.reportText')}</p>
        <NativeSelect label={t('card.reason')} value={reason} onChange={(e) => setReason(e.currentTarget.value as ReportReason)} data={reportReasons.map((r) => ({ value: r, label: t(`card.reasons.${r}`) }))} />
        <Textarea label={t('card.whatHappened')} required autosize minRows={3} maxLength={2000} value={text} onChange={(e) => setText(e.currentTarget.value)} />
        {error !== null && <Problem error={error} />}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>{t('cancel')}</Button>
          <Button type="submit" loading={busy} disabled={text.trim() === ''}>{t('card.send')}</Button>
        </Group>
      </form>
    </Modal>
  )
}
