import '../../locales/identity'
import { Button, Group, Modal, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { factor, factors, ways, type Factor } from '../../api/identity'
import { me } from '../../api/queries'
import { canUsePasskeys, makePasskey } from '../../lib/passkey'
import { Confirm } from '../../ui/confirm'
import { Copy } from '../../ui/Copy'
import { Panel } from '../../ui/Page'
import { Empty, Loaded, Problem } from '../../ui/states'
import { Ago, Time } from '../../ui/Time'
import ui from '../../ui/ui.module.css'
import css from './identity.module.css'

type Doing = { what: 'app' | 'passkey' } | { what: 'rename' | 'remove'; of: Factor } | { what: 'recovery' } | { what: 'codes'; codes: string[] }

/** The second factors of who is signed in. */
export function Factors() {
  const { t } = useTranslation()
  const query = useQuery(factors)
  const client = useQueryClient()
  const { data: possible } = useQuery(ways)
  const [doing, setDoing] = useState<Doing | null>(null)
  const passkeys = Boolean(possible?.passkeys) && canUsePasskeys()
  const close = () => setDoing(null)
  const changed = () => Promise.all([client.invalidateQueries({ queryKey: ['factors'] }), client.invalidateQueries({ queryKey: me.queryKey })])
  const added = async (codes: string[]) => {
    await changed()
    setDoing(codes.length > 0 ? { what: 'codes', codes } : null)
  }
  const title = doing === null ? '' : doing.what === 'app' ? t('factors.addApp') : doing.what === 'passkey' ? t('factors.addPasskey') : doing.what === 'rename' ? t('factors.renameOne', { name: doing.of.name }) : t('factors.recovery')
  return (
    <Panel title={t('factors.title')} hint={t('factors.hint')} flush
      actions={(
        <Group gap="xs">
          <Button size="xs" variant="default" onClick={() => setDoing({ what: 'app' })}>{t('factors.addApp')}</Button>
          <Button size="xs" variant="default" disabled={!passkeys} onClick={() => setDoing({ what: 'passkey' })}>{t('factors.addPasskey')}</Button>
        </Group>
      )}>
      <Loaded query={query}>
        {({ items, recovery_left }) => (
          <>
            {items.length === 0 ? <Empty title={t('factors.none')}>{t('factors.noneText')}</Empty> : <Table items={items} onDo={setDoing} />}
            {possible && !passkeys && <p className={`${css.note} dim`}>{t('factors.noPasskeys')}</p>}
            {items.length > 0 && (
              <div className={css.note}>
                <p>{t('factors.recoveryLeft', { count: recovery_left })}</p>
                <Button size="xs" variant="default" onClick={() => setDoing({ what: 'recovery' })}>{t('factors.recoveryNew')}</Button>
              </div>
            )}
          </>
        )}
      </Loaded>
      <Modal opened={doing !== null && doing.what !== 'remove' && doing.what !== 'recovery'} onClose={close} title={title} closeButtonProps={{ 'aria-label': t('close') }}>
        {doing?.what === 'app' && <AddApp onDone={added} />}
        {doing?.what === 'passkey' && <AddPasskey onDone={added} />}
        {doing?.what === 'rename' && <Rename of={doing.of} onDone={async () => { await changed(); close() }} />}
        {doing?.what === 'codes' && <Codes codes={doing.codes} onDone={close} />}
      </Modal>
      <Confirm opened={doing?.what === 'remove'} onClose={close} title={t('factors.removeOne', { name: doing?.what === 'remove' ? doing.of.name : '' })} confirm={t('factors.remove')} danger
        act={async () => {
          if (doing?.what === 'remove') await factor.remove(doing.of.id)
          await changed()
        }}>
        {t('factors.removeText')}
      </Confirm>
      <NewCodes opened={doing?.what === 'recovery'} onClose={close} onDone={added} />
    </Panel>
  )
}

function Table({ items, onDo }: { items: Factor[]; onDo: (d: Doing) => void }) {
  const { t } = useTranslation()
  return (
    <table className={ui.table}>
      <caption className="visually-hidden">{t('factors.title')}</caption>
      <thead>
        <tr>
          <th scope="col">{t('factors.name')}</th>
          <th scope="col" className={ui.medium}>{t('factors.created')}</th>
          <th scope="col" className={ui.medium}>{t('factors.used')}</th>
          <th scope="col"><span className="visually-hidden">{t('factors.remove')}</span></th>
        </tr>
      </thead>
      <tbody>
        {items.map((f) => (
          <tr key={f.id}>
            <td className="break"><strong>{f.name}</strong><div className={ui.sub}>{t(`factors.kinds.${f.kind}`)}</div></td>
            <td className={ui.medium}><Time at={f.created} /></td>
            <td className={ui.medium}>{f.last_used ? <Ago at={f.last_used} /> : t('factors.never')}</td>
            <td className={ui.right}>
              <Group gap={6} justify="flex-end">
                <Button size="compact-xs" variant="default" onClick={() => onDo({ what: 'rename', of: f })} aria-label={t('factors.renameOne', { name: f.name })}>{t('factors.rename')}</Button>
                <Button size="compact-xs" variant="default" onClick={() => onDo({ what: 'remove', of: f })} aria-label={t('factors.removeOne', { name: f.name })}>{t('factors.remove')}</Button>
              </Group>
            </td>
          </tr>
        ))}
      </tbody>
    </table>
  )
}

function AddApp({ onDone }: { onDone: (codes: string[]) => Promise<void> }) {
  const { t } = useTranslation()
  const [name, setName] = useState<string>(t('factors.appName'))
  const [code, setCode] = useState('')
  const begin = useMutation({ mutationFn: () => factor.addApp(name.trim()) })
  const app = begin.data
  const confirm = useMutation({ mutationFn: () => factor.confirmApp(app?.id ?? '', code.trim()), onSuccess: (done) => onDone(done.codes) })
  const send = (event: FormEvent) => {
    event.preventDefault()
    if (app) confirm.mutate()
    else begin.mutate()
  }
  return (
    <form className={ui.form} onSubmit={send}>
      {!app ? (
        <>
          <TextInput label={t('factors.name')} description={t('factors.nameText')} required value={name} onChange={(e) => setName(e.currentTarget.value)} data-autofocus />
          {begin.isError && <Problem error={begin.error} />}
          <div><Button type="submit" loading={begin.isPending} disabled={name.trim() === ''}>{t('factors.begin')}</Button></div>
        </>
      ) : (
        <>
          <p>{t('factors.scan')}</p>
          <svg className={css.qr} viewBox={`-4 -4 ${app.qr.size + 8} ${app.qr.size + 8}`} role="img" aria-label={t('factors.qr')}><path d={app.qr.path} /></svg>
          <div>
            <p className="dim">{t('factors.secret')}</p>
            <Copy text={app.secret} label={t('factors.secretLabel')} />
          </div>
          <TextInput label={t('factor.code')} inputMode="numeric" autoComplete="one-time-code" required value={code} onChange={(e) => setCode(e.currentTarget.value)} autoFocus />
          {confirm.isError && <Problem error={confirm.error} />}
          <div><Button type="submit" loading={confirm.isPending} disabled={code.trim() === ''}>{t('factors.confirmApp')}</Button></div>
        </>
      )}
    </form>
  )
}

function AddPasskey({ onDone }: { onDone: (codes: string[]) => Promise<void> }) {
  const { t } = useTranslation()
  const [name, setName] = useState<string>(t('factors.passkeyName'))
  const add = useMutation({
    mutationFn: async () => {
      const { state, options } = await factor.addPasskey()
      return factor.confirmPasskey(state, name.trim(), await makePasskey(options))
    },
    onSuccess: (done) => onDone(done.codes),
  })
  const send = (event: FormEvent) => {
    event.preventDefault()
    add.mutate()
  }
  return (
    <form className={ui.form} onSubmit={send}>
      <TextInput label={t('factors.name')} description={t('factors.nameText')} required value={name} onChange={(e) => setName(e.currentTarget.value)} data-autofocus />
      {add.isError && (add.error instanceof DOMException ? <p role="alert">{t('factor.noPasskey')}</p> : <Problem error={add.error} />)}
      <div><Button type="submit" loading={add.isPending} disabled={name.trim() === ''}>{t('factors.addPasskey')}</Button></div>
    </form>
  )
}

function Rename({ of, onDone }: { of: Factor; onDone: () => Promise<void> }) {
  const { t } = useTranslation()
  const [name, setName] = useState(of.name)
  const save = useMutation({ mutationFn: () => factor.rename(of.id, name.trim()), onSuccess: onDone })
  const send = (event: FormEvent) => {
    event.preventDefault()
    save.mutate()
  }
  return (
    <form className={ui.form} onSubmit={send}>
      <TextInput label={t('factors.name')} required value={name} onChange={(e) => setName(e.currentTarget.value)} data-autofocus />
      {save.isError && <Problem error={save.error} />}
      <div><Button type="submit" loading={save.isPending} disabled={name.trim() === ''}>{t('factors.save')}</Button></div>
    </form>
  )
}

function Codes({ codes, onDone }: { codes: string[]; onDone: () => void }) {
  const { t } = useTranslation()
  return (
    <div className={ui.form}>
      <p>{t('factors.recoveryOnce')}</p>
      <Copy text={codes.join('\n')} label={t('factors.recovery')} />
      <div><Button onClick={onDone}>{t('done')}</Button></div>
    </div>
  )
}

function NewCodes({ opened, onClose, onDone }: { opened: boolean; onClose: () => void; onDone: (codes: string[]) => Promise<void> }) {
  const { t } = useTranslation()
  return (
    <Confirm opened={opened} onClose={onClose} title={t('factors.recoveryNew')} confirm={t('factors.recoveryNew')}
      act={async () => {
        const { codes } = await factor.recovery()
        void onDone(codes) // shows them once this dialog has closed
      }}>
      {t('factors.recoveryNewText')}
    </Confirm>
  )
}
