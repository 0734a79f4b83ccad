import { Button, Modal, TextInput } from '@mantine/core'
import { useInfiniteQuery, useMutation } from '@tanstack/react-query'
import { Link, useNavigate, useSearch } from '@tanstack/react-router'
import { useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { agents as act } from '../api/actions'
import { agents } from '../api/queries'
import type { Agent } from '../api/types'
import { useMay } from '../api/useMay'
import { Copy } from '../ui/Copy'
import { PlusIcon } from '../ui/icons'
import { MachineState } from '../ui/marks'
import { Page, Panel } from '../ui/Page'
import { Empty, LoadedList, Problem } from '../ui/states'
import { Ago, Time } from '../ui/Time'
import ui from '../ui/ui.module.css'

export function MachinesPage() {
  const { t } = useTranslation()
  const can = useMay()
  const { add } = useSearch({ from: '/inside/machines' })
  const navigate = useNavigate({ from: '/machines' })
  const open = (on: boolean) => void navigate({ search: { add: on ? true : undefined }, replace: true })
  const query = useInfiniteQuery(agents)
  const button = can('operate') && <Button leftSection={<PlusIcon />} onClick={() => open(true)}>{t('machines.add')}</Button>
  return (
    <Page title={t('machines.title')} lead={t('machines.lead')} actions={button}>
      <AddMachine opened={add === true && can('operate')} onClose={() => open(false)} />
      <Panel title={t('machines.list')} flush>
        <LoadedList query={query} empty={<Empty title={t('machines.none')} action={button}>{t('machines.noneText')}</Empty>}>
          {(items) => <MachineTable items={items} />}
        </LoadedList>
      </Panel>
    </Page>
  )
}

function MachineTable({ items }: { items: Agent[] }) {
  const { t } = useTranslation()
  return (
    <table className={ui.table}>
      <caption className="visually-hidden">{t('machines.list')}</caption>
      <thead>
        <tr>
          <th scope="col">{t('machines.name')}</th>
          <th scope="col">{t('machines.state')}</th>
          <th scope="col" className={ui.medium}>{t('machines.system')}</th>
          <th scope="col" className={ui.wide}>{t('machines.plugins')}</th>
          <th scope="col" className={ui.wide}>{t('machines.version')}</th>
          <th scope="col">{t('machines.seen')}</th>
        </tr>
      </thead>
      <tbody>
        {items.map((a) => (
          <tr key={a.id} className={ui.row}>
            <td>
              <Link to="/machines/$id" params={{ id: a.id }} className={ui.main}>{a.name}</Link>
              {a.address && <div className={`${ui.sub} mono`}>{a.address}</div>}
            </td>
            <td><MachineState agent={a} /></td>
            <td className={ui.medium}>{a.os}/{a.arch}</td>
            <td className={`${ui.wide} num`}>{a.plugins?.length ?? 0}</td>
            <td className={ui.wide}>{a.version}</td>
            <td><Ago at={a.last_seen} /></td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

function AddMachine({ opened, onClose }: { opened: boolean; onClose: () => void }) {
  const { t } = useTranslation()
  return (
    <Modal opened={opened} onClose={onClose} size="lg" title={t('machines.add')} closeButtonProps={{ 'aria-label': t('close') }}>
      {opened && <AddForm onClose={onClose} />}
    </Modal>
  )
}

function AddForm({ onClose }: { onClose: () => void }) {
  const { t } = useTranslation()
  const [name, setName] = useState('')
  const make = useMutation({ mutationFn: act.token })
  const send = (event: FormEvent) => {
    event.preventDefault()
    make.mutate(name.trim())
  }
  if (make.data) {
    return (
      <div className={ui.form}>
        <p>{t('machines.run')}</p>
        <Copy text={make.data.command} label={t('machines.command')} />
        <p className="dim">{t('machines.once')} {make.data.expires && <>{t('machines.until')} <Time at={make.data.expires} />.</>}</p>
        <div><Button onClick={onClose}>{t('done')}</Button></div>
      </div>
    )
  }
  return (
    <form className={ui.form} onSubmit={send}>
      <p className="dim">{t('machines.addText')}</p>
      <TextInput label={t('machines.nameOptional')} value={name} onChange={(e) => setName(e.currentTarget.value)} data-autofocus />
      {make.isError && <Problem error={make.error} />}
      <div><Button type="submit" loading={make.isPending}>{t('machines.make')}</Button></div>
    </form>
  )
}
