import { PasswordInput } from '@mantine/core'
import { useTranslation } from 'react-i18next'
import { shortestPassword, type PasswordProblem } from '../lib/password'
import '../locales/identity'

/** A new password and its repetition, named "password" and "again" in the form. */
export function NewPassword({ label, problems, size }: { label: string; problems: PasswordProblem[]; size?: 'md' }) {
  const { t } = useTranslation()
  return (
    <>
      <PasswordInput name="password" label={label} description={t('setup.rule', { count: shortestPassword })} autoComplete="new-password" required withAsterisk={false} size={size}
        error={problems.includes('short') ? t('setup.short', { count: shortestPassword }) : undefined} />
      <PasswordInput name="again" label={t('setup.again')} autoComplete="new-password" required withAsterisk={false} size={size}
        error={problems.includes('differs') ? t('setup.mismatch') : undefined} />
    </>
  )
}
