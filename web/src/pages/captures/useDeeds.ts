// Does something to captures and tells how it went.
import { useQueryClient } from '@tanstack/react-query'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { captureDeed } from '../../api/traffic'
import type { Capture } from '../../api/types'
import { canDo, forEach, type CaptureDeed } from '../../lib/captureJobs'
import '../../locales/traffic'
import { useTell } from '../../ui/toasts'

/** Those of the captures whose state does not admit it are left alone. */
export function useDeeds(after?: (deed: CaptureDeed) => void) {
  const { t } = useTranslation()
  const tell = useTell()
  const client = useQueryClient()
  const [busy, setBusy] = useState<CaptureDeed | null>(null)
  const run = async (deed: CaptureDeed, captures: readonly Pick<Capture, 'id' | 'state'>[]) => {
    setBusy(deed)
    const ids = captures.filter((c) => canDo(deed, c)).map((c) => c.id)
    const outcome = await forEach(ids, captureDeed[deed])
    setBusy(null)
    if (outcome.done > 0) tell.done(t(`traffic.jobs.did.${deed}`, { count: outcome.done }))
    if (outcome.error !== undefined) tell.failed(outcome.error)
    // Before the list is read again the page may leave what is gone.
    if (outcome.done > 0) after?.(deed)
    await Promise.all([client.invalidateQueries({ queryKey: ['captures'] }), client.invalidateQueries({ queryKey: ['flows'] })])
  }
  return { busy, run }
}
