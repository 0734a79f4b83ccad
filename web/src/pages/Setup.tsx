import { Button, TextInput } from '@mantine/core'
import { useMutation, useQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { session } from '../api/actions'
import { setup } from '../api/queries'
import { passwordProblems, type PasswordProblem } from '../lib/password'
import '../locales/identity'
import { NewPassword } from '../ui/NewPassword'
import { Empty, Problem } from '../ui/states'
import { useLinkToken } from '../ui/useLinkToken'
import { AuthFrame } from './AuthFrame'
import css from './auth.module.css'
import { useEnter } from './Signin'

/** The first person: reached by the one-time link that picketd prints at its first start. There is no default password. */
export function SetupPage() {
  const { t } = useTranslation()
  const enter = useEnter('/welcome')
  const { data } = useQuery(setup)
  const token = useLinkToken()
  const [problems, setProblems] = useState<PasswordProblem[]>([])
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
    const found = passwordProblems(password, String(form.get('again')))
    setProblems(found)
    if (found.length === 0) create.mutate({ username: String(form.get('username')), password })
  }
  return (
    <AuthFrame title={t('setup.title')} lead={t('setup.lead')}>
      <form className={css.form} onSubmit={submit} noValidate>
        <TextInput name="username" label={t('signin.username')} autoComplete="username" autoCapitalize="none" spellCheck={false} required autoFocus withAsterisk={false} size="md" />
        <NewPassword label={t('signin.password')} problems={problems} size="md" />
        {create.isError && <Problem error={create.error} />}
        <Button type="submit" size="md" loading={create.isPending}>{t('setup.submit')}</Button>
      </form>
    </AuthFrame>
  )
}
