import { Button, PasswordInput, TextInput } from '@mantine/core'
import { useMutation, useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useEffect, useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { session } from '../api/actions'
import { setup } from '../api/queries'
import { Empty, Problem } from '../ui/states'
import { AuthFrame } from './AuthFrame'
import css from './auth.module.css'
import { useEnter } from './Signin'

const shortest = 10

/** The first person: reached by the one-time link that picketd prints at its first start. There is no default password. */
export function SetupPage() {
  const { t } = useTranslation()
  const enter = useEnter()
  const { data } = useQuery(setup)
  // It stays in the fragment, which no browser sends to a server, and leaves the address bar at once.
  const [token] = useState(() => new URLSearchParams(location.hash.slice(1)).get('token'))
  useEffect(() => {
    if (token) history.replaceState(null, '', location.pathname)
  }, [token])
  const [mismatch, setMismatch] = useState(false)
  const [short, setShort] = useState(false)
  const create = useMutation({
    mutationFn: (w: { username: string; password: string }) => session.setup(token ?? '', w.username, w.password),
    onSuccess: enter,
  })

  if (data && !data.needed) {
    return (
      <AuthFrame title={t('setup.title')}>
        <Empty title={t('setup.doneTitle')} action={<Link to="/signin" search={{}}>{t('setup.toSignin')}</Link>}>{t('setup.doneText')}</Empty>
      </AuthFrame>
    )
  }
  if (!token) {
    return (
      <AuthFrame title={t('setup.title')} lead={t('setup.noToken')}>
        <p className="dim">{t('setup.noTokenNext')}</p>
      </AuthFrame>
    )
  }
  const submit = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const form = new FormData(event.currentTarget)
    const password = String(form.get('password'))
    const tooShort = password.length < shortest
    const differs = password !== form.get('again')
    setShort(tooShort)
    setMismatch(differs)
    if (!tooShort && !differs) create.mutate({ username: String(form.get('username')), password })
  }
  return (
    <AuthFrame title={t('setup.title')} lead={t('setup.lead')}>
      <form className={css.form} onSubmit={submit} noValidate>
        <TextInput name="username" label={t('signin.username')} autoComplete="username" autoCapitalize="none" spellCheck={false} required autoFocus withAsterisk={false} size="md" />
        <PasswordInput name="password" label={t('signin.password')} description={t('setup.rule', { count: shortest })} autoComplete="new-password" required withAsterisk={false} size="md"
          error={short ? t('setup.short', { count: shortest }) : undefined} />
        <PasswordInput name="again" label={t('setup.again')} autoComplete="new-password" required withAsterisk={false} size="md" error={mismatch ? t('setup.mismatch') : undefined} />
        {create.isError && <Problem error={create.error} />}
        <Button type="submit" size="md" loading={create.isPending}>{t('setup.submit')}</Button>
      </form>
    </AuthFrame>
  )
}
