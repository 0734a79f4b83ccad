// npm run walk: every page as every role, with thousands of machines: nothing may fail, nothing forbidden may be asked for, axe must
// be content, nothing may stick out. It starts a server of its own. WALK_MACHINES says how many machines, WALK_ROLES which roles.
import { spawnSync } from 'node:child_process'
import { mkdtemp } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { bin, startOn } from './server.mjs'
import { allRoles, measure, walk } from './walking.mjs'

const machines = process.env.WALK_MACHINES ?? '10000'
const roles = process.env.WALK_ROLES?.split(',') ?? allRoles

const run = (program, ...args) => {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8', cwd: fileURLToPath(new URL('../../', import.meta.url)) })
  if (status !== 0) throw new Error(`${program} ${args.join(' ')}: ${stderr}`)
  return stdout.trim()
}

const data = await mkdtemp(join(tmpdir(), 'picket-walk-'))
run('go', 'run', './internal/load', '-fill', machines, '-data', data)
const server = await startOn(data)
try {
  const token = run(join(bin, 'picket'), 'token', 'create', '--data', data, '--role', 'ADM')
  for (const line of await measure(server.base, token)) console.log(line)
  const wrong = await walk(server.base, token, roles, fileURLToPath(new URL('../../e2e-artifacts/walk/', import.meta.url)))
  for (const line of wrong) console.log(`FAIL  ${line}`)
  console.log(wrong.length === 0 ? '\nall good' : `\n${wrong.length} wrong`)
  process.exitCode = wrong.length === 0 ? 0 : 1
} finally {
  await server.stop()
}
