// Filters that people saved under a name.
import { ActionIcon, Button, Checkbox, Popover, TextInput } from '@mantine/core'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { removeView, saveView, views, type View } from '../../api/traffic'
import { useMay } from '../../api/useMay'
import { readFlowAddress, type FlowAddress } from '../../lib/flowFilter'
import { queryOfView, viewOfQuery } from '../../lib/savedViews'
import { CloseIcon } from '../../ui/icons'
import { Loaded, Problem } from '../../ui/states'
import { useTell } from '../../ui/toasts'
import css from './flows.module.css'

export function ViewsMenu({ address, go }: { address: FlowAddress; go: (to: FlowAddress) => void }) {
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
              const own = items.filter((v) => v.page === 'flows')
              return own.length === 0 ? <p className="dim">{t('traffic.views.none')}</p>
                : <ul className={css.views}>{own.map((v) => <SavedView key={v.id} view={v} onOpen={() => { setOpen(false); go(viewOfQuery(v.query)) }} />)}</ul>
            }}
          </Loaded>
          <SaveView address={address} />
        </div>
      </Popover.Dropdown>
    </Popover>
  )
}

function SavedView({ view: v, onOpen }: { view: View; onOpen: () => void }) {
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
      <Link to="/flows" search={viewOfQuery(v.query)} className="break" onClick={onOpen}>{v.name}</Link>
      <span className="dim">{v.mine ? v.shared && t('traffic.views.sharedMark') : t('traffic.views.by', { owner: v.owner })}</span>
      {(v.mine || can('administer')) && (
        <ActionIcon variant="subtle" color="gray" size="sm" aria-label={t('traffic.views.remove', { name: v.name })} onClick={() => void remove()}><CloseIcon size={14} /></ActionIcon>
      )}
    </li>
  )
}

function SaveView({ address }: { address: FlowAddress }) {
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
      await saveView(name.trim(), queryOfView(readFlowAddress({ ...address })), shared)
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
