import type { ErrorComponentProps } from '@tanstack/react-router'
import { Link } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import { Problem } from '../ui/states'
import { AuthFrame } from './AuthFrame'

export function NotFound() {
  const { t } = useTranslation()
  return (
    <AuthFrame title={t('notFound.title')} lead={t('notFound.text')}>
      <Link to="/">{t('notFound.home')}</Link>
    </AuthFrame>
  )
}

export function RouteError({ error, reset }: ErrorComponentProps) {
  const { t } = useTranslation()
  return (
    <AuthFrame title={t('error.page')}>
      <Problem error={error} retry={reset} />
    </AuthFrame>
  )
}
