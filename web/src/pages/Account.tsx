import '../locales/identity'
import { Button, PasswordInput } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useRef, useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { session } from '../api/actions'
import { ownSessions, sessions } from '../api/identity'
import { me } from '../api/queries'
import { passwordProblems, type PasswordProblem } from '../lib/password'
import { NewPassword } from '../ui/NewPassword'
import { Fact, Facts, Page, Panel } from '../ui/Page'
import { Loaded, Problem } from '../ui/states'
import { useTell } from '../ui/toasts'
import ui from '../ui/ui.module.css'
import { Factors } from './identity/Factors'
import css from './identity/identity.module.css'
import { Sessions } from './identity/Sessions'
import { Tokens } from './identity/Tokens'

export function AccountPage() {
  const { t } = useTranslation()
  const { data: who } = useQuery(me)
  return (
    <Page title={t('account.title')}>
      {who?.must_enrol && <p className={css.needed} role="alert">{t('factors.needed')}</p>}
      <Panel title={t('account.who')}>
        <Facts>
          <Fact name={t('signin.username')}>{who?.username}</Fact>
          <Fact name={t('tokens.role')}>{who && <>{who.role} <span className="dim">{t(`roles.${who.role}`)}</span></>}</Fact>
        </Facts>
      </Panel>
      <Panel title={t('account.password')} hint={t('account.passwordHint')}>
        <PasswordForm />
      </Panel>
      <Factors />
      <OwnSessions />
      {who && !who.must_enrol && <Tokens whose="own" />}
    </Page>
  )
}

function OwnSessions() {
  const { t } = useTranslation()
  const tell = useTell()
  const client = useQueryClient()
  const query = useQuery(ownSessions)
  const refresh = () => client.invalidateQueries({ queryKey: ['sessions'] })
  const others = useMutation({
    mutationFn: sessions.endOthers,
    onSuccess: async ({ ended }) => {
      await refresh()
      tell.done(t('sessions.ended', { count: ended }))
    },
  })
  return (
    <Panel title={t('sessions.title')} flush actions={<Button size="xs" variant="default" loading={others.isPending} onClick={() => others.mutate()}>{t('sessions.endOthers')}</Button>}>
      <Loaded query={query}>{({ items }) => <Sessions items={items} end={(s) => sessions.end(s.id).then(refresh)} />}</Loaded>
    </Panel>
  )
}

function PasswordForm() {
  const { t } = useTranslation()
  const tell = useTell()
  const form = useRef<HTMLFormElement>(null)
  const [problems, setProblems] = useState<PasswordProblem[]>([])
  const change = useMutation({
    mutationFn: (w: { current: string; wanted: string }) => session.password(w.current, w.wanted),
    onSuccess: () => {
      form.current?.reset()
      tell.done(t('account.changed'))
    },
  })
  const send = (event: FormEvent<HTMLFormElement>) => {
    event.preventDefault()
    const given = new FormData(event.currentTarget)
    const wanted = String(given.get('password'))
    const found = passwordProblems(wanted, String(given.get('again')))
    setProblems(found)
    if (found.length === 0) change.mutate({ current: String(given.get('current')), wanted })
  }
  return (
    <form ref={form} className={`${ui.form} ${ui.narrow}`} onSubmit={send} noValidate>
      <PasswordInput name="current" label={t('account.current')} description={t('account.currentText')} autoComplete="current-password" />
      <NewPassword label={t('account.new')} problems={problems} />
      {change.isError && <Problem error={change.error} />}
      <div><Button type="submit" loading={change.isPending}>{t('account.change')}</Button></div>
    </form>
  )
}
