// Filters that people saved under a name.
import { ActionIcon, Button, Checkbox, Popover, TextInput } from '@mantine/core'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useState, type FormEvent, type ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import { removeView, saveView, views, type View, type ViewsOf } from '../../api/traffic'
import { useMay } from '../../api/useMay'
import { CloseIcon } from '../../ui/icons'
import { Loaded, Problem } from '../../ui/states'
import { useTell } from '../../ui/toasts'
import css from './flows.module.css'

interface Props {
  page: ViewsOf
  /** What would be saved. */
  query: string
  /** A link that opens what was saved. */
  link: (query: string, name: string, onOpen: () => void) => ReactNode
}

export function ViewsMenu({ page, query: now, link }: Props) {
  const { t } = useTranslation()
  const [open, setOpen] = useState(false)
  const query = useQuery({ ...views, enabled: open })
  return (
    <Popover opened={open} onChange={setOpen} position="bottom-end" floatingStrategy="fixed" width={300} trapFocus returnFocus>
      <Popover.Target><Button variant="default" onClick={() => setOpen(!open)}>{t('traffic.views.title')}</Button></Popover.Target>
      <Popover.Dropdown aria-label={t('traffic.views.title')}>
        <div className={css.menu}>
          <Loaded query={query} rows={2}>
            {({ items }) => {
              const own = items.filter((v) => v.page === page)
              return own.length === 0 ? <p className="dim">{t('traffic.views.none')}</p>
                : <ul className={css.views}>{own.map((v) => <SavedView key={v.id} view={v}>{link(v.query, v.name, () => setOpen(false))}</SavedView>)}</ul>
            }}
          </Loaded>
          <SaveView page={page} query={now} />
        </div>
      </Popover.Dropdown>
    </Popover>
  )
}

function SavedView({ view: v, children }: { view: View; children: ReactNode }) {
  const { t } = useTranslation()
  const can = useMay()
  const client = useQueryClient()
  const tell = useTell()
  const remove = async () => {
    try {
      await removeView(v.id)
      tell.done(t('traffic.views.removed', { name: v.name }))
    } catch (error) {
      tell.failed(error)
    }
    await client.invalidateQueries({ queryKey: ['views'] })
  }
  return (
    <li>
      {children}
      <span className="dim">{v.mine ? v.shared && t('traffic.views.sharedMark') : t('traffic.views.by', { owner: v.owner })}</span>
      {(v.mine || can('users:admin')) && (
        <ActionIcon variant="subtle" color="gray" size="sm" aria-label={t('traffic.views.remove', { name: v.name })} onClick={() => void remove()}><CloseIcon size={14} /></ActionIcon>
      )}
    </li>
  )
}

function SaveView({ page, query }: Pick<Props, 'page' | 'query'>) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const tell = useTell()
  const [name, setName] = useState('')
  const [shared, setShared] = useState(false)
  const [error, setError] = useState<unknown>(null)
  const save = async (event: FormEvent) => {
    event.preventDefault()
    setError(null)
    try {
      await saveView(page, name.trim(), query, shared)
      tell.done(t('traffic.views.saved', { name: name.trim() }))
      setName('')
      await client.invalidateQueries({ queryKey: ['views'] })
    } catch (e) {
      setError(e)
    }
  }
  return (
    <form className={css.save} onSubmit={(e) => void save(e)}>
      <TextInput size="xs" label={t('traffic.views.name')} value={name} maxLength={80} onChange={(e) => setName(e.currentTarget.value)} />
      <Checkbox size="xs" label={t('traffic.views.shared')} checked={shared} onChange={(e) => setShared(e.currentTarget.checked)} />
      <Button type="submit" size="xs" disabled={name.trim() === ''}>{t('traffic.views.save')}</Button>
      {error !== null && <Problem error={error} />}
    </form>
  )
}
