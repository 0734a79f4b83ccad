// Making a group, or changing one: who fits its rules is shown while they are written.
import { Button, Group, Modal, NativeSelect, Textarea, TextInput } from '@mantine/core'
import { useDebouncedValue } from '@mantine/hooks'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { groupActions, groups, matching } from '../../api/groups'
import { ApiError } from '../../api/http'
import { count } from '../../lib/format'
import { everybody, rulesOf, treeOf, withBelow, type MachineGroup } from '../../lib/groups'
import { Problem } from '../../ui/states'
import { useTell } from '../../ui/toasts'
import ui from '../../ui/ui.module.css'
import css from './groups.module.css'

/** Without a group a new one is made. */
export function GroupDialog({ group: g, onClose }: { group?: MachineGroup; onClose: () => void }) {
  const { t } = useTranslation()
  return (
    <Modal opened onClose={onClose} size="lg" title={g ? t('group.changeOf', { name: g.name }) : t('group.make')} closeButtonProps={{ 'aria-label': t('close') }}>
      <Form key={g?.version} group={g} onClose={onClose} />
    </Modal>
  )
}

function Form({ group: g, onClose }: { group?: MachineGroup; onClose: () => void }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const navigate = useNavigate()
  const tell = useTell()
  const all = useQuery(groups).data?.items ?? []
  const [name, setName] = useState('')
  const [parent, setParent] = useState(g?.parent ?? everybody)
  const [description, setDescription] = useState(g?.description ?? '')
  const [rules, setRules] = useState((g?.rules ?? []).join('\n'))
  const refresh = () => client.invalidateQueries({ queryKey: ['agents'] })
  const save = useMutation({
    mutationFn: () => {
      const wish = { parent, description: description.trim(), rules: rulesOf(rules) }
      return g ? groupActions.change(g.name, g.version, wish) : groupActions.create({ name: name.trim(), ...wish })
    },
    onSuccess: async (made) => {
      tell.done(t(g ? 'group.changed' : 'group.made', { name: made.name }))
      await refresh()
      onClose()
      if (!g) await navigate({ to: '/groups/$name', params: { name: made.name } })
    },
    onError: (error) => {
      if (error instanceof ApiError && error.status === 412) {
        tell.done(t('group.somebody'))
        void refresh()
      }
    },
  })
  const send = (event: FormEvent) => {
    event.preventDefault()
    save.mutate()
  }
  const below = g ? withBelow(all, g.name) : new Set<string>()
  const parents = treeOf(all).filter((b) => !below.has(b.group.name))
  return (
    <form onSubmit={send} className={ui.form}>
      <div className={ui.fields}>
        {!g && <TextInput label={t('group.name')} description={t('group.nameHint')} value={name} maxLength={40} pattern="[a-z0-9][a-z0-9\-]*" required data-autofocus spellCheck={false} autoComplete="off" onChange={(e) => setName(e.currentTarget.value)} />}
        <NativeSelect label={t('group.parent')} description={g ? undefined : ' '} value={parent} onChange={(e) => setParent(e.currentTarget.value)}
          data={[{ value: everybody, label: t('group.all') }, ...parents.map((b) => ({ value: b.group.name, label: `${' '.repeat(b.depth)}${b.group.name}` }))]} />
      </div>
      <TextInput label={t('group.description')} value={description} maxLength={500} onChange={(e) => setDescription(e.currentTarget.value)} />
      <Textarea label={t('group.rulesField')} description={t('group.rulesHint')} value={rules} autosize minRows={2} maxRows={8} spellCheck={false} styles={{ input: { fontFamily: 'var(--mono)' } }} onChange={(e) => setRules(e.currentTarget.value)} />
      <Preview group={g?.name} text={rules} before={(g?.rules.length ?? 0) > 0} />
      {save.isError && <Problem error={save.error} />}
      <Group justify="flex-end" gap="xs">
        <Button variant="default" onClick={onClose}>{t('cancel')}</Button>
        <Button type="submit" loading={save.isPending}>{g ? t('configs.save') : t('group.make')}</Button>
      </Group>
    </form>
  )
}

interface Matches {
  total: number
  items: { id: string; name: string }[]
}

function Preview({ group, text, before }: { group?: string; text: string; before: boolean }) {
  const { t } = useTranslation()
  const [settled] = useDebouncedValue(text, 300)
  const rules = rulesOf(settled)
  const query = useQuery({ ...matching(group, rules), enabled: rules.length > 0 || before })
  if (rules.length === 0 && !before) return null
  if (query.isError) return <Problem error={query.error} />
  const names = (m: Matches) => m.items.map((a) => a.name).join(', ') + (m.total > m.items.length ? ` ${t('group.more', { formatted: count(m.total - m.items.length) })}` : '')
  return (
    <section className={css.preview} aria-label={t('group.preview')} aria-busy={query.isPlaceholderData || undefined}>
      {query.data && (
        <>
          <p role="status"><strong>{t('group.fit', { count: query.data.match.total, formatted: count(query.data.match.total) })}</strong></p>
          {query.data.match.total > 0 && <p className={css.names} tabIndex={0}>{names(query.data.match)}</p>}
          {query.data.leave.total > 0 && (
            <>
              <p><strong>{t('group.leave', { count: query.data.leave.total, formatted: count(query.data.leave.total) })}</strong></p>
              <p className={css.names} tabIndex={0}>{names(query.data.leave)}</p>
            </>
          )}
        </>
      )}
    </section>
  )
}
