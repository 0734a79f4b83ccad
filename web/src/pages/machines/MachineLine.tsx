// One line for the shell of a new machine, and what the line does.
import { NativeSelect, SegmentedControl } from '@mantine/core'
import { useQuery } from '@tanstack/react-query'
import { useState, type ReactNode } from 'react'
import { useTranslation } from 'react-i18next'
import { releases, type AgentRelease } from '../../api/machines'
import { bytes } from '../../lib/format'
import { Copy } from '../../ui/Copy'
import { Loading } from '../../ui/states'
import ui from '../../ui/ui.module.css'
import css from './machines.module.css'

const systems = ['linux', 'darwin', 'windows'] as const
const arches = { linux: ['amd64', 'arm64', 'arm'], darwin: ['arm64', 'amd64'], windows: ['amd64', 'arm64'] } as const

/** Which system it is for; the line itself once there is a token. */
export function MachineLine({ token, bare, children }: { token?: string; bare?: string; children?: ReactNode }) {
  const { t } = useTranslation()
  const [os, setOS] = useState<(typeof systems)[number]>('linux')
  const [arch, setArch] = useState<string>('amd64')
  const offered = useQuery(releases)
  const release = offered.data?.items.find((r) => r.os === os && r.arch === arch)
  return (
    <>
      <SegmentedControl aria-label={t('adding.system')} value={os} data={systems.map((s) => ({ value: s, label: t(`adding.systems.${s}`) }))}
        onChange={(v) => {
          const to = v as (typeof systems)[number]
          setOS(to)
          setArch(arches[to][0])
        }} />
      <NativeSelect label={t('adding.arch')} value={arch} onChange={(e) => setArch(e.currentTarget.value)} data={arches[os].map((a) => ({ value: a, label: t(`adding.arches.${a}`) }))} />
      {children}
      {token && bare && (offered.isPending ? <Loading rows={2} /> : <Line release={release} token={token} bare={bare} />)}
    </>
  )
}

/** The line, with the token in its place. */
function Line({ release: r, token, bare }: { release: AgentRelease | undefined; token: string; bare: string }) {
  const { t } = useTranslation()
  const filled = (line: string) => line.replace('{token}', token)
  if (!r) {
    return (
      <div className={ui.stack}>
        <p><b>{t('adding.noRelease')}</b></p>
        <p className="dim">{t('adding.noReleaseText')}</p>
        <Copy text={bare} label={t('adding.line')} />
      </div>
    )
  }
  return (
    <div className={ui.stack}>
      <p>{r.os === 'windows' ? t('adding.powershell') : t('adding.paste')}</p>
      <Copy text={filled(r.line)} label={t('adding.line')} />
      <p className="dim">{t('adding.size', { version: r.version, size: bytes(r.size) })}</p>
      <details>
        <summary>{t('adding.does')}</summary>
        <p className="dim">{t('adding.doesText')}</p>
        <ol className={css.steps}>
          {r.steps.map((s) => <li key={s.does}>{t(`adding.steps.${s.does}`)}<Copy text={filled(s.line)} label={t(`adding.steps.${s.does}`)} line /></li>)}
        </ol>
      </details>
    </div>
  )
}
