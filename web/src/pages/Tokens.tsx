import { useTranslation } from 'react-i18next'
import '../locales/identity'
import { Page } from '../ui/Page'
import { Tokens } from './identity/Tokens'

export function TokensPage() {
  const { t } = useTranslation()
  return (
    <Page title={t('tokens.title')} lead={t('tokens.lead')}>
      <Tokens whose="all" />
    </Page>
  )
}
