import { Button } from '@mantine/core'
import { useQuery, useQueryClient } from '@tanstack/react-query'
import { useNavigate } from '@tanstack/react-router'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { plugins as act } from '../../api/actions'
import { marketPlugin } from '../../api/market'
import type { Plugin } from '../../api/types'
import '../../locales/plugins'
import { Confirm } from '../../ui/confirm'
import { useTell } from '../../ui/toasts'
import css from '../plugins.module.css'

/** Takes a plugin off the server and stops it everywhere, once somebody has read what goes with it. */
export function UninstallButton({ plugin: p }: { plugin: Plugin }) {
  const { t } = useTranslation()
  const client = useQueryClient()
  const navigate = useNavigate()
  const tell = useTell()
  const { data: offer } = useQuery(marketPlugin(p.id))
  const [asking, setAsking] = useState(false)
  if (!p.enabled && p.instances.length === 0 && !offer?.installed) return null
  const name = p.title || p.id
  const machines = new Set(p.instances.map((i) => i.node.id)).size
  const run = async () => {
    const { left } = await act.uninstall(p.id)
    tell.done(left.length === 0 ? t('plugin.uninstalled', { name }) : t('plugin.uninstalledLeft', { name, list: left.join(', ') }))
    await navigate({ to: '/plugins' }) // its own page is gone if no registry offers it
    for (const key of ['plugins', 'fleet', 'market']) void client.invalidateQueries({ queryKey: [key] })
  }
  return (
    <>
      <Button variant="default" onClick={() => setAsking(true)}>{t('plugin.uninstall')}</Button>
      <Confirm opened={asking} onClose={() => setAsking(false)} title={t('plugin.uninstallTitle', { name })} confirm={t('plugin.uninstall')} danger act={run}>
        <ul className={css.goes}>
          <li>{machines === 0 ? t('plugin.uninstallNowhere') : t('plugin.uninstallStops', { count: machines })}</li>
          <li>{t('plugin.uninstallForgets')}</li>
          <li>{t('plugin.uninstallFiles')}</li>
          <li>{t('plugin.uninstallStays')}</li>
        </ul>
      </Confirm>
    </>
  )
}
