import { Button, Textarea } from '@mantine/core'
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { incidentDeed } from '../../api/incidents'
import type { IncidentDetail } from '../../api/types'
import { useMay } from '../../api/useMay'
import { Panel } from '../../ui/Page'
import { Problem } from '../../ui/states'
import { Ago } from '../../ui/Time'
import css from './incidents.module.css'
import { ownerName } from './owner'

export function Notes({ incident: i }: { incident: IncidentDetail }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const can = useMay()
  const [text, setText] = useState('')
  const add = useMutation({
    mutationFn: () => incidentDeed.note(i.id, text.trim()),
    onSuccess: async () => {
      setText('')
      await client.invalidateQueries({ queryKey: ['incidents', i.id] })
    },
  })
  const send = (event: FormEvent) => {
    event.preventDefault()
    if (text.trim()) add.mutate()
  }
  return (
    <Panel title={t('incident.notes')}>
      {can('watch') && (
        <form onSubmit={send}>
          <Textarea size="xs" autosize minRows={2} maxLength={5000} label={t('incident.noteLabel')} value={text} onChange={(e) => setText(e.currentTarget.value)} />
          <Button mt="xs" type="submit" size="xs" variant="default" loading={add.isPending} disabled={!text.trim()}>{t('incident.noteAdd')}</Button>
          {add.isError && <Problem error={add.error} />}
        </form>
      )}
      <ul className={css.entries} aria-label={t('incident.notes')}>
        {i.notes.length === 0 && <li className="dim">{t('incident.noNotes')}</li>}
        {i.notes.map((n) => (
          <li key={n.id}>
            <span className={css.text}>{n.text}</span>
            <span className={`${css.entryHead} dim`}>{ownerName(n.by)} · <Ago at={n.time} /></span>
          </li>
        ))}
      </ul>
    </Panel>
  )
}
