// One side of a flow: its address and port, and the name that a device of that address is known by.
import type { Named } from '../../api/traffic'
import { hostPort } from '../../lib/flowWords'
import css from './flows.module.css'

interface Props {
  address: string
  port: number
  proto: string
  names?: Map<string, Named>
}

export function Endpoint({ address, port, proto, names }: Props) {
  const name = names?.get(address)?.name
  return (
    <span className={css.endpoint}>
      <span className="mono">{hostPort(address, port, proto)}</span>
      {name && <span className={css.device}>{name}</span>}
    </span>
  )
}
