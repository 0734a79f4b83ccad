import type { ErrorComponentProps } from '@tanstack/react-router'
import { Link } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import { Empty, Problem } from '../ui/states'

export function NotFound() {
  const { t } = useTranslation()
  return (
    <Empty title={t('notFound.title')} action={<Link to="/">{t('notFound.home')}</Link>}>
      {t('notFound.text')}
    </Empty>
  )
}

export function RouteError({ error, reset }: ErrorComponentProps) {
  return <Problem error={error} retry={reset} />
}
