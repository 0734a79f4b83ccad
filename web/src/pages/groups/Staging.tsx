// Why a change is made, and whether some machines get it first.
import { Checkbox, NumberInput, TextInput } from '@mantine/core'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import type { Staged } from '../../api/groups'
import ui from '../../ui/ui.module.css'

export interface Staging {
  comment: string
  first: boolean
  canary: number | string
  soak: string
  failures: number | string
}

export function useStaging() {
  const [value, setValue] = useState<Staging>({ comment: '', first: false, canary: 10, soak: '10m', failures: 0 })
  const rollout: Staged | undefined = value.first ? { canary_percent: Number(value.canary), soak: value.soak.trim() || '10m', max_failures: Number(value.failures) } : undefined
  return { value, setValue, rollout, comment: value.comment.trim() }
}

/** One machine alone has nobody to go first for. */
export function StagingFields({ value: v, onChange, alone }: { value: Staging; onChange: (value: Staging) => void; alone?: boolean }) {
  const { t } = useTranslation()
  return (
    <>
      <TextInput label={t('configs.comment')} description={t('configs.commentHint')} value={v.comment} maxLength={400} onChange={(e) => onChange({ ...v, comment: e.currentTarget.value })} />
      {!alone && <Checkbox label={t('configs.first')} description={t('configs.firstHint')} checked={v.first} onChange={(e) => onChange({ ...v, first: e.currentTarget.checked })} />}
      {v.first && (
        <div className={ui.fields}>
          <NumberInput label={t('configs.canary')} suffix=" %" min={0} max={100} allowDecimal={false} value={v.canary} onChange={(canary) => onChange({ ...v, canary })} />
          <TextInput label={t('configs.soak')} placeholder="10m" value={v.soak} maxLength={20} onChange={(e) => onChange({ ...v, soak: e.currentTarget.value })} />
          <NumberInput label={t('configs.failures')} min={0} max={1000} allowDecimal={false} value={v.failures} onChange={(failures) => onChange({ ...v, failures })} />
        </div>
      )}
    </>
  )
}
