// What can be done with many machines at once.
import { Autocomplete, Button, Modal, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState, type FormEvent, type ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import { many, type Counted } from '../../api/machines'
import { readLabels } from '../../lib/machineFilter'
import { Confirm } from '../../ui/confirm'
import { Loading, Problem } from '../../ui/states'
import { useTell } from '../../ui/toasts'
import ui from '../../ui/ui.module.css'
import css from './machines.module.css'

interface Props {
  ids: string[]
  groups: Counted[]
  /** The choice is spent. */
  onDone: () => void
}

export function Chosen({ ids, groups, onDone }: Props) {
  const { t } = useTranslation()
  const [asking, setAsking] = useState<'move' | 'label' | 'remove' | null>(null)
  const close = () => setAsking(null)
  return (
    <div className={css.chosen} role="group" aria-label={t('list.chosenActions')}>
      <span role="status" className="num">{t('list.chosen', { count: ids.length })}</span>
      <Button size="xs" variant="default" onClick={() => setAsking('move')}>{t('list.move')}</Button>
      <Button size="xs" variant="default" onClick={() => setAsking('label')}>{t('list.label')}</Button>
      <Button size="xs" variant="default" onClick={() => setAsking('remove')}>{t('list.remove')}</Button>
      <Button size="xs" variant="subtle" onClick={onDone}>{t('list.unchoose')}</Button>
      {asking === 'move' && <Move ids={ids} groups={groups} onClose={close} />}
      {asking === 'label' && <Label ids={ids} onClose={close} />}
      {asking === 'remove' && <Remove ids={ids} onClose={close} onDone={onDone} />}
    </div>
  )
}

/** A dialog that does one thing to all of them. */
function Form({ title, act, said, onClose, children }: { title: string; act: () => Promise<{ done: number }>; said: (done: number) => string; onClose: () => void; children: ReactNode }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const tell = useTell()
  const run = useMutation({
    mutationFn: act,
    onSuccess: ({ done }) => {
      tell.done(said(done))
      onClose()
    },
    onSettled: () => client.invalidateQueries({ queryKey: ['agents'] }),
  })
  const send = (event: FormEvent) => {
    event.preventDefault()
    run.mutate()
  }
  return (
    <Modal opened onClose={onClose} title={title} closeButtonProps={{ 'aria-label': t('close') }}>
      <form className={ui.form} onSubmit={send}>
        {children}
        {run.isError && <Problem error={run.error} />}
        <div><Button type="submit" loading={run.isPending}>{title}</Button></div>
      </form>
    </Modal>
  )
}

function Move({ ids, groups, onClose }: { ids: string[]; groups: Counted[]; onClose: () => void }) {
  const { t } = useTranslation()
  const [group, setGroup] = useState('')
  return (
    <Form title={t('list.move')} act={() => many.group(ids, group.trim())} said={(done) => t('list.moved', { count: done, group: group.trim() })} onClose={onClose}>
      <p className="dim">{t('list.moveText')}</p>
      <Autocomplete label={t('list.groupName')} description={t('list.groupHint')} data={[...new Set(['all', ...groups.map((g) => g.value)])]} value={group} onChange={setGroup} maxLength={40} required withAsterisk={false} data-autofocus />
    </Form>
  )
}

function Label({ ids, onClose }: { ids: string[]; onClose: () => void }) {
  const { t } = useTranslation()
  const [set, setSet] = useState('')
  const [take, setTake] = useState('')
  const labels = readLabels(set)
  const names = take.split(',').map((n) => n.trim()).filter(Boolean)
  const act = () => (labels === null ? Promise.reject(new Error(t('list.badLabels'))) : many.labels(ids, labels, names))
  return (
    <Form title={t('list.label')} act={act} said={(done) => t('list.labelled', { count: done })} onClose={onClose}>
      <TextInput label={t('list.set')} description={t('list.setHint')} value={set} error={labels === null ? t('list.badLabels') : undefined} onChange={(e) => setSet(e.currentTarget.value)} data-autofocus />
      <TextInput label={t('list.take')} description={t('list.takeHint')} value={take} onChange={(e) => setTake(e.currentTarget.value)} />
    </Form>
  )
}

function Remove({ ids, onClose, onDone }: { ids: string[]; onClose: () => void; onDone: () => void }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const tell = useTell()
  const query = useQuery({ queryKey: ['removal', ids], queryFn: () => many.consequences(ids), gcTime: 0 })
  const act = async () => {
    try {
      const { done } = await many.remove(ids)
      tell.done(t('list.removed', { count: done }))
      onDone()
    } finally {
      await client.invalidateQueries({ queryKey: ['agents'] })
    }
  }
  const what = query.data
  return (
    <Confirm opened onClose={onClose} title={t('list.removeTitle', { count: ids.length })} confirm={t('list.remove')} danger act={act}>
      <p>{t('list.removeText')}</p>
      {query.isPending && <Loading rows={2} />}
      {query.isError && <Problem error={query.error} />}
      {what && (
        <ul>
          {what.online > 0 && <li>{t('list.removeOnline', { count: what.online })}</li>}
          {what.commands > 0 && <li>{t('list.removeCommands', { count: what.commands })}</li>}
          {what.assignments > 0 && <li>{t('list.removeAssignments', { count: what.assignments })}</li>}
        </ul>
      )}
    </Confirm>
  )
}
