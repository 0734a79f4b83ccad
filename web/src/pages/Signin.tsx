import '../locales/identity'
import { Button, PasswordInput, TextInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useRouter, useSearch } from '@tanstack/react-router'
import { useEffect, useRef, useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { session } from '../api/actions'
import { signIn, ways, type FactorNeeded } from '../api/identity'
import { me } from '../api/queries'
import { canUsePasskeys, askPasskey } from '../lib/passkey'
import { Loading, Problem } from '../ui/states'
import { useLinkToken } from '../ui/useLinkToken'
import { AuthFrame } from './AuthFrame'
import css from './auth.module.css'

/** Sign in with a password and what must follow it, a passkey, another place, or a one-time link (its token stays in the fragment). */
export function SigninPage() {
  const { t } = useTranslation()
  const enter = useEnter()
  const token = useLinkToken()
  const elsewhere = useSearch({ strict: false, select: (s) => (s as { elsewhere?: string }).elsewhere })
  const [factor, setFactor] = useState<FactorNeeded | null>(null)
  const onSuccess = ({ factor: needed }: { factor?: FactorNeeded }) => (needed ? setFactor(needed) : enter())
  const link = useMutation({ mutationFn: session.signin, onSuccess })
  const password = useMutation({ mutationFn: (w: { username: string; password: string }) => session.login(w.username, w.password), onSuccess })

  // The link works once; React's development mode runs effects twice.
  const used = useRef<string | null>(null)
  const { mutate } = link
  useEffect(() => {
    if (!token || used.current === token) return
    used.current = token
    mutate(token)
  }, [token, mutate])

  if (factor) return <SecondStep needed={factor} onBack={() => { setFactor(null); link.reset(); password.reset() }} />
  if (token && !link.isError && !link.isSuccess) {
    return <AuthFrame title={t('signin.linkTitle')}><Loading rows={2} /></AuthFrame>
  }
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const form = new FormData(event.currentTarget)
    password.mutate({ username: String(form.get('username')), password: String(form.get('password')) })
  }
  return (
    <AuthFrame title={t('signin.title')}>
      {elsewhere && <p role="alert">{t('factor.refused')}</p>}
      {link.isError && <Problem error={link.error} />}
      <form className={css.form} onSubmit={submit}>
        <TextInput name="username" label={t('signin.username')} autoComplete="username webauthn" autoCapitalize="none" spellCheck={false} required autoFocus withAsterisk={false} size="md" />
        <PasswordInput name="password" label={t('signin.password')} autoComplete="current-password" required withAsterisk={false} size="md" />
        {password.isError && <Problem error={password.error} />}
        <Button type="submit" size="md" loading={password.isPending}>{t('signin.submit')}</Button>
        <OtherWays />
      </form>
    </AuthFrame>
  )
}

function OtherWays() {
  const { t } = useTranslation()
  const { data } = useQuery(ways)
  const passkeys = Boolean(data?.passkeys) && canUsePasskeys()
  if (!data || (!passkeys && !data.oidc)) return null
  return (
    <>
      <p className={css.or}>{t('factor.or')}</p>
      {passkeys && <PasskeyButton />}
      {data.oidc && <Button component="a" href="/api/v1/oidc/start" variant="default" size="md">{t('factor.oidc', { name: data.oidc })}</Button>}
    </>
  )
}

function PasskeyButton() {
  const { t } = useTranslation()
  const enter = useEnter()
  const come = useMutation({
    mutationFn: async () => {
      const { state, options } = await signIn.beginPasskey()
      return signIn.passkey(state, await askPasskey(options))
    },
    onSuccess: enter,
  })
  return (
    <>
      <Button variant="default" size="md" loading={come.isPending} onClick={() => come.mutate()}>{t('factor.passkey')}</Button>
      {come.isError && (come.error instanceof DOMException ? <p role="alert">{t('factor.noPasskey')}</p> : <Problem error={come.error} />)}
    </>
  )
}

/** The password was right. A passkey is a sign-in of its own; a code goes with what the server gave. */
function SecondStep({ needed, onBack }: { needed: FactorNeeded; onBack: () => void }) {
  const { t } = useTranslation()
  const enter = useEnter()
  const byCode = needed.kinds.some((k) => k !== 'passkey')
  const come = useMutation({ mutationFn: (code: string) => signIn.code(needed.challenge, code), onSuccess: enter })
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    come.mutate(String(new FormData(event.currentTarget).get('code')))
  }
  return (
    <AuthFrame title={t('factor.codeTitle')} lead={t('factor.codeLead')}>
      <form className={css.form} onSubmit={submit}>
        {needed.kinds.includes('passkey') && canUsePasskeys() && <PasskeyButton />}
        {byCode && (
          <>
            <TextInput name="code" label={t('factor.code')} description={t('factor.codeText')} autoComplete="one-time-code" autoCapitalize="none" spellCheck={false} required autoFocus withAsterisk={false} size="md" />
            {come.isError && <Problem error={come.error} />}
            <Button type="submit" size="md" loading={come.isPending}>{t('factor.confirm')}</Button>
          </>
        )}
        <Button variant="subtle" color="gray" onClick={onBack}>{t('factor.back')}</Button>
      </form>
    </AuthFrame>
  )
}

/** Goes where the person wanted to go, as the person who just signed in. Only paths of this app count. */
export function useEnter(usual = '/') {
  const client = useQueryClient()
  const router = useRouter()
  const next = useSearch({ strict: false, select: (s) => (s as { next?: string }).next })
  return async () => {
    client.clear()
    const who = await client.fetchQuery(me)
    const target = who.must_enrol ? '/account' : next && /^\/(?!\/|\\)/.test(next) ? next : usual
    router.history.push(target)
  }
}
