import { Button } from '@mantine/core'
import { useInfiniteQuery } from '@tanstack/react-query'
import { Link } from '@tanstack/react-router'
import { useTranslation } from 'react-i18next'
import { captures } from '../api/queries'
import '../locales/captures'
import { Page, Panel } from '../ui/Page'
import { Empty, LoadedList } from '../ui/states'
import { CaptureTable } from './captures/CaptureTable'
import { DropZone, Uploads } from './captures/Uploads'

export function CapturesPage() {
  const { t } = useTranslation()
  const query = useInfiniteQuery({
    ...captures,
    // The live channel tells when one is done; the bars should move before that.
    refetchInterval: (q) => (q.state.data?.pages.some((p) => p.items.some((c) => c.state === 'running')) ? 2000 : false),
  })
  return (
    <Page title={t('captures.title')} lead={t('captures.lead')} actions={<Button component={Link} to="/flows" variant="default">{t('nav.flows')}</Button>}>
      <DropZone />
      <Uploads />
      <Panel title={t('captures.list')} flush>
        <LoadedList query={query} empty={<Empty title={t('captures.none')}>{t('captures.noneText')}</Empty>}>
          {(items) => <CaptureTable items={items} />}
        </LoadedList>
      </Panel>
    </Page>
  )
}
