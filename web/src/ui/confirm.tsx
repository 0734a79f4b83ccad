import { Button, Group, Modal } from '@mantine/core'
import { useState, type ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import { Problem } from './states'

interface Props {
  opened: boolean
  onClose: () => void
  title: string
  children: ReactNode
  confirm: string
  danger?: boolean
  act: () => Promise<unknown>
}

/** Asks before something that cannot simply be taken back. */
export function Confirm({ opened, onClose, title, children, confirm, danger, act }: Props) {
  const { t } = useTranslation()
  const [error, setError] = useState<unknown>(null)
  const [busy, setBusy] = useState(false)
  const run = async () => {
    setBusy(true)
    setError(null)
    try {
      await act()
      onClose()
    } catch (e) {
      setError(e)
    } finally {
      setBusy(false)
    }
  }
  return (
    <Modal opened={opened} onClose={onClose} title={title} closeButtonProps={{ 'aria-label': t('close') }}>
      <div>{children}</div>
      {error !== null && <Problem error={error} />}
      <Group justify="flex-end" mt="md" gap="xs">
        <Button variant="default" onClick={onClose}>{t('cancel')}</Button>
        <Button color={danger ? 'red.9' : undefined} loading={busy} onClick={() => void run()}>{confirm}</Button>
      </Group>
    </Modal>
  )
}
