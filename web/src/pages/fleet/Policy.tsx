import { Button, Group, Modal, NativeSelect, NumberInput, Radio } from '@mantine/core'
import { useMutation, useQueryClient } from '@tanstack/react-query'
import { useState, type FormEvent } from 'react'
import { useTranslation } from 'react-i18next'
import { fleetActions, type FleetPlugin, type UpdatePolicy } from '../../api/market'
import '../../locales/market'
import '../../locales/plugins'
import { Problem } from '../../ui/states'
import { useTell } from '../../ui/toasts'
import ui from '../../ui/ui.module.css'
import css from './fleet.module.css'

interface Props {
  plugin: Pick<FleetPlugin, 'id' | 'title' | 'policy'>
  groups: string[]
  onClose: () => void
}

const autos = ['off', 'patch', 'minor'] as const

/** How a plugin is kept up to date without anybody asking. It never gains a permission by that. */
export function PolicyDialog({ plugin: p, groups, onClose }: Props) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const tell = useTell()
  const [auto, setAuto] = useState<UpdatePolicy['auto']>(p.policy.auto)
  const [days, setDays] = useState<number | string>(p.policy.cooldown_days)
  const [group, setGroup] = useState(p.policy.group || 'all')
  const save = useMutation({
    mutationFn: () => fleetActions.policy(p.id, { auto, cooldown_days: Number(days) || 0, group }),
    onSuccess: async () => {
      tell.done(t('policy.saved'))
      onClose()
      await Promise.all([client.invalidateQueries({ queryKey: ['fleet'] }), client.invalidateQueries({ queryKey: ['plugins'] })])
    },
  })
  const send = (event: FormEvent) => {
    event.preventDefault()
    save.mutate()
  }
  return (
    <Modal opened onClose={onClose} title={t('policy.change', { name: p.title || p.id })} closeButtonProps={{ 'aria-label': t('close') }}>
      <form onSubmit={send} className={ui.form}>
        <Radio.Group label={t('policy.auto')} value={auto} onChange={(v) => setAuto(v as UpdatePolicy['auto'])}>
          <div className={css.radios}>{autos.map((a) => <Radio key={a} value={a} label={t(`policy.names.${a}`)} description={t(`policy.means.${a}`)} />)}</div>
        </Radio.Group>
        {auto !== 'off' && (
          <div className={ui.fields}>
            <NumberInput label={t('policy.cooldown')} description={t('policy.cooldownText')} min={0} max={365} allowDecimal={false} value={days} onChange={setDays} />
            <NativeSelect label={t('policy.group')} description={t('policy.groupText')} value={group} onChange={(e) => setGroup(e.currentTarget.value)} data={[...new Set(['all', ...groups])].map((g) => ({ value: g, label: g === 'all' ? t('enable.agents') : g }))} />
          </div>
        )}
        <p className="dim">{t('policy.never')}</p>
        {save.isError && <Problem error={save.error} />}
        <Group justify="flex-end" gap="xs">
          <Button variant="default" onClick={onClose}>{t('cancel')}</Button>
          <Button type="submit" loading={save.isPending}>{t('enable.save')}</Button>
        </Group>
      </form>
    </Modal>
  )
}
