// A picketd for the tests: one that is given (PICKET_URL, PICKET_SIGNIN), or one started here on an empty data folder.
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const bin = process.env.PICKET_BIN_DIR ?? fileURLToPath(new URL('../../bin/', import.meta.url))

/** Starts picketd on an empty folder of data, and returns the link it prints: {base, link, data, stop}. */
export const startServer = async (...args) => startOn(await mkdtemp(join(tmpdir(), 'picket-e2e-data-')), ...args)

/** Starts picketd on a folder of data, which is gone once it has stopped. */
export async function startOn(data, ...args) {
  const program = join(bin, 'picketd')
  if (!existsSync(program)) throw new Error(`${program} is missing: run "make build" first, or set PICKET_URL and PICKET_SIGNIN`)
  const child = spawn(program, ['--data', data, '--listen', '127.0.0.1:0', ...args], { stdio: ['ignore', 'pipe', 'pipe'] })
  const gone = new Promise((resolve) => child.once('exit', resolve))
  let said = ''
  const stop = async () => {
    child.kill('SIGTERM')
    await gone
    await rm(data, { recursive: true, force: true })
  }
  const link = await new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`picketd printed no link within 60 s:\n${said}`)), 60_000)
    const hear = (chunk) => {
      said += chunk
      const found = /https?:\/\/\S+\/(?:signin|setup)#token=\S+/.exec(said)
      if (found) {
        clearTimeout(timer)
        resolve(found[0])
      }
    }
    child.stdout.on('data', hear)
    child.stderr.on('data', hear)
    gone.then((code) => reject(new Error(`picketd ended with ${code}:\n${said}`)))
  }).catch(async (error) => {
    await stop()
    throw error
  })
  return { base: new URL(link).origin, link, data, stop }
}

export async function devServer() {
  const { PICKET_URL, PICKET_SIGNIN } = process.env
  if (PICKET_URL && PICKET_SIGNIN) return { base: PICKET_URL.replace(/\/$/, ''), link: PICKET_SIGNIN, stop: async () => {} }
  return startServer('--dev')
}
