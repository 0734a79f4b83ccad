// Asks once more who somebody is, when the server wants to know before something dangerous. The request waits behind it.
import { Button, Modal, PasswordInput, TextInput } from '@mantine/core'
import { useMutation, useQuery } from '@tanstack/react-query'
import { useEffect, useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { whenProofNeeded } from '../api/http'
import { prove } from '../api/identity'
import { me } from '../api/queries'
import '../locales/identity'
import { canUsePasskeys, askPasskey } from '../lib/passkey'
import { Problem } from './states'
import ui from './ui.module.css'

type Answer = (proven: boolean) => void

export function Prove() {
  const { t } = useTranslation()
  const [asked, setAsked] = useState<Answer | null>(null)
  useEffect(() => {
    whenProofNeeded(() => new Promise((resolve) => setAsked(() => resolve)))
    return () => whenProofNeeded(() => Promise.resolve(false))
  }, [])
  const end = (proven: boolean) => {
    asked?.(proven)
    setAsked(null)
  }
  return (
    <Modal opened={asked !== null} onClose={() => end(false)} title={t('prove.title')} zIndex={350} closeButtonProps={{ 'aria-label': t('close') }}>
      {asked && <Ways onProven={() => end(true)} />}
    </Modal>
  )
}

function Ways({ onProven }: { onProven: () => void }) {
  const { t } = useTranslation()
  const { data: who } = useQuery(me)
  const [typed, setTyped] = useState('')
  const has = (way: string) => who?.proofs.includes(way) ?? false
  const byCode = has('totp')
  const text = useMutation({ mutationFn: () => (byCode || has('passkey') ? prove.code(typed) : prove.password(typed)), onSuccess: onProven })
  const passkey = useMutation({
    mutationFn: async () => {
      const { state, options } = await prove.begin()
      return prove.passkey(state, await askPasskey(options))
    },
    onSuccess: onProven,
  })
  if (has('oidc')) return <p>{t('prove.elsewhere')}</p>
  const send = (event: FormEvent) => {
    event.preventDefault()
    text.mutate()
  }
  return (
    <form className={ui.form} onSubmit={send}>
      <p>{t('prove.text')}</p>
      {has('passkey') && canUsePasskeys() && <Button variant={byCode ? 'default' : 'filled'} loading={passkey.isPending} onClick={() => passkey.mutate()}>{t('factor.passkey')}</Button>}
      {has('password')
        ? <PasswordInput label={t('prove.password')} autoComplete="current-password" value={typed} onChange={(e) => setTyped(e.currentTarget.value)} required withAsterisk={false} data-autofocus />
        : <TextInput label={t('factor.code')} description={t('factor.codeText')} autoComplete="one-time-code" value={typed} onChange={(e) => setTyped(e.currentTarget.value)} required withAsterisk={false} data-autofocus />}
      {passkey.isError && (passkey.error instanceof DOMException ? <p role="alert">{t('factor.noPasskey')}</p> : <Problem error={passkey.error} />)}
      {text.isError && <Problem error={text.error} />}
      <div><Button type="submit" loading={text.isPending} disabled={typed === ''}>{t('prove.go')}</Button></div>
    </form>
  )
}
