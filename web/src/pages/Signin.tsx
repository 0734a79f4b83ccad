import { Button, PasswordInput, TextInput } from '@mantine/core'
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useRouter, useSearch } from '@tanstack/react-router'
import { useEffect, useRef, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { session } from '../api/actions'
import { me } from '../api/queries'
import { Loading, Problem } from '../ui/states'
import { useLinkToken } from '../ui/useLinkToken'
import { AuthFrame } from './AuthFrame'
import css from './auth.module.css'

/** Sign in with a password, or with the one-time link that --dev prints (its token stays in the fragment). */
export function SigninPage() {
  const { t } = useTranslation()
  const enter = useEnter()
  const token = useLinkToken()
  const link = useMutation({ mutationFn: session.signin, onSuccess: enter })
  const password = useMutation({ mutationFn: (w: { username: string; password: string }) => session.login(w.username, w.password), onSuccess: enter })

  // The link works once; React's development mode runs effects twice.
  const used = useRef<string | null>(null)
  const { mutate } = link
  useEffect(() => {
    if (!token || used.current === token) return
    used.current = token
    mutate(token)
  }, [token, mutate])

  if (token && !link.isError) {
    return <AuthFrame title={t('signin.linkTitle')}><Loading rows={2} /></AuthFrame>
  }
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const form = new FormData(event.currentTarget)
    password.mutate({ username: String(form.get('username')), password: String(form.get('password')) })
  }
  return (
    <AuthFrame title={t('signin.title')}>
      {link.isError && <Problem error={link.error} />}
      <form className={css.form} onSubmit={submit}>
        <TextInput name="username" label={t('signin.username')} autoComplete="username" autoCapitalize="none" spellCheck={false} required autoFocus withAsterisk={false} size="md" />
        <PasswordInput name="password" label={t('signin.password')} autoComplete="current-password" required withAsterisk={false} size="md" />
        {password.isError && <Problem error={password.error} />}
        <Button type="submit" size="md" loading={password.isPending}>{t('signin.submit')}</Button>
      </form>
    </AuthFrame>
  )
}

/** Goes where the person wanted to go, as the person who just signed in. Only paths of this app count. */
export function useEnter() {
  const client = useQueryClient()
  const router = useRouter()
  const next = useSearch({ strict: false, select: (s) => (s as { next?: string }).next })
  return async () => {
    client.clear()
    await client.fetchQuery(me)
    const target = next && /^\/(?!\/|\\)/.test(next) ? next : '/'
    router.history.push(target)
  }
}
