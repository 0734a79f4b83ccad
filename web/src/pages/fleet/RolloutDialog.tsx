import { Button, Group, Modal } from '@mantine/core'
import { useMutation, useQuery, useQueryClient } from '@tanstack/react-query'
import { useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { plan, rollout, type FleetPlugin, type Plan } from '../../api/market'
import '../../locales/market'
import { Loaded, Problem } from '../../ui/states'
import { useTell } from '../../ui/toasts'
import ui from '../../ui/ui.module.css'
import { CanaryFields, firstCanary } from '../market/CanaryFields'
import { Conflicts } from '../market/InstallDialog'
import { useConsent } from '../market/useConsent'

/** Brings the newest version to machines, a few first. */
export function RolloutDialog({ plugin: p, onClose }: { plugin: FleetPlugin; onClose: () => void }) {
  const { t } = useTranslation()
  const query = useQuery(plan(p.id, { version: p.newest }))
  return (
    <Modal opened onClose={onClose} size="lg" title={t('rollout.startOf', { name: p.title || p.id, version: p.newest })} closeButtonProps={{ 'aria-label': t('close') }}>
      <Loaded query={query} rows={5}>{(ready) => <Form plugin={p} plan={ready} onClose={onClose} />}</Loaded>
    </Modal>
  )
}

function Form({ plugin: p, plan: ready, onClose }: { plugin: FleetPlugin; plan: Plan; onClose: () => void }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const tell = useTell()
  const [canary, setCanary] = useState(firstCanary)
  const consent = useConsent(ready.permissions.added)
  const grows = ready.permissions.added.length > 0
  const start = useMutation({
    mutationFn: (grants: string[] | 'all' | undefined) => rollout.start({
      plugin: p.id, version: ready.version, group: canary.group, canary_percent: Number(canary.canary_percent), soak: canary.soak || '10m', max_failures: Number(canary.max_failures), grants,
    }),
    onSuccess: async () => {
      tell.done(t('rollout.started'))
      onClose()
      await client.invalidateQueries({ queryKey: ['fleet'] })
    },
  })
  const send = (event: FormEvent) => {
    event.preventDefault()
    const grants = consent.read(ready.permissions.kept)
    if (grants) start.mutate(grows ? grants : undefined)
  }
  return (
    <form onSubmit={send} className={ui.form}>
      {ready.conflicts.length > 0 && <Conflicts conflicts={ready.conflicts} />}
      <CanaryFields value={canary} onChange={setCanary} />
      {grows ? consent.view(t('update.newlyMay'), ready.config ?? {}) : <p className="dim">{t('update.samePermissions')}</p>}
      {start.isError && <Problem error={start.error} />}
      <Group justify="flex-end" gap="xs">
        <Button variant="default" onClick={onClose}>{t('cancel')}</Button>
        <Button type="submit" loading={start.isPending} disabled={ready.conflicts.length > 0}>{t('rollout.start')}</Button>
      </Group>
    </form>
  )
}
