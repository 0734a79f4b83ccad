// The way out of here as a file: its format, its columns, and what they mean.
import { Button, Checkbox, Modal, Popover } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useState } from 'react'
import { useTranslation } from 'react-i18next'
import { exportFlows, exportFormats, flowColumns, type ExportFormat } from '../../api/traffic'
import type { FlowFilter } from '../../lib/flowFilter'
import { Loaded } from '../../ui/states'
import { useTell } from '../../ui/toasts'
import ui from '../../ui/ui.module.css'
import css from './flows.module.css'

export function ExportMenu({ filter }: { filter: FlowFilter }) {
  const { t } = useTranslation()
  const tell = useTell()
  const [open, setOpen] = useState(false)
  const [explained, setExplained] = useState(false)
  const [features, setFeatures] = useState(false)
  const [busy, setBusy] = useState<ExportFormat | null>(null)
  const run = async (format: ExportFormat) => {
    setBusy(format)
    try {
      await exportFlows(filter, format, features)
      setOpen(false)
    } catch (error) {
      tell.failed(error)
    } finally {
      setBusy(null)
    }
  }
  return (
    <>
      <Popover opened={open} onChange={setOpen} position="bottom-end" floatingStrategy="fixed" width={260} trapFocus returnFocus>
        <Popover.Target><Button variant="default" onClick={() => setOpen(!open)}>{t('traffic.export.title')}</Button></Popover.Target>
        <Popover.Dropdown aria-label={t('traffic.export.title')}>
          <div className={css.menu}>
            <p className="dim">{t('traffic.export.hint')}</p>
            <Checkbox size="xs" label={t('traffic.export.features')} checked={features} onChange={(e) => setFeatures(e.currentTarget.checked)} />
            {(Object.keys(exportFormats) as ExportFormat[]).map((format) => (
              <Button key={format} variant="default" size="xs" loading={busy === format} disabled={busy !== null} onClick={() => void run(format)}>{t(`traffic.export.${format}`)}</Button>
            ))}
            <Button variant="subtle" size="xs" onClick={() => { setOpen(false); setExplained(true) }}>{t('traffic.export.explain')}</Button>
          </div>
        </Popover.Dropdown>
      </Popover>
      <Modal opened={explained} onClose={() => setExplained(false)} size="xl" title={t('traffic.export.columns')} closeButtonProps={{ 'aria-label': t('close') }}>
        <Columns />
      </Modal>
    </>
  )
}

function Columns() {
  const { t } = useTranslation()
  const query = useQuery(flowColumns)
  return (
    <Loaded query={query} rows={8}>
      {({ items }) => (
        <>
          <p className="dim">{t('traffic.export.columnsHint')}</p>
          <div className={ui.tableWrap} tabIndex={0} role="region" aria-label={t('traffic.export.columns')}>
            <table className={ui.table}>
              <thead>
                <tr>
                  <th scope="col">{t('traffic.export.column')}</th>
                  <th scope="col">{t('traffic.export.unit')}</th>
                  <th scope="col">{t('traffic.export.meaning')}</th>
                </tr>
              </thead>
              <tbody>
                {items.map((c) => (
                  <tr key={c.name}>
                    <td className="mono">{c.name}{c.feature && <span className="dim" title={t('traffic.export.onlyFeatures')}> *</span>}</td>
                    <td className="mono">{c.unit}</td>
                    <td>{c.formula}{(c.direction === 'forward' || c.direction === 'back') && <span className="dim"> · {t(`traffic.export.ways.${c.direction}`)}</span>}</td>
                  </tr>
                ))}
              </tbody>
            </table>
          </div>
        </>
      )}
    </Loaded>
  )
}
