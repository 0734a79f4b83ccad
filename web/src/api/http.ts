// One way to the server: typed by its own description, and every failure as an ApiError that a page can show.
import createClient from 'openapi-fetch'
import { dropEarly, takeEarly } from './early'
import type { paths } from './schema'

/** What went wrong, in the words of the server where it gave any (RFC 9457). */
export class ApiError extends Error {
  constructor(
    /** HTTP status, or 0 when the server did not answer. */
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    /** Problems with single fields, by JSON path. */
    readonly fields: FieldProblem[] = [],
    /** What kind of problem it is, where the server has a name for it. */
    readonly type = '',
  ) {
    super(detail || title)
    this.name = 'ApiError'
  }
}

export interface FieldProblem {
  path: string
  message: string
}

export const api = createClient<paths>({ fetch: guarded })

/** What a call answered. A failed call has thrown already, so there is an answer. */
export async function answer<T>(call: Promise<{ data?: T }>): Promise<T> {
  return (await call).data as T
}

const mustProve = 'urn:picket:problem:prove'

/** Set by the page: asks who somebody is, and says whether they proved it. */
let askProof: () => Promise<boolean> = () => Promise.resolve(false)
export function whenProofNeeded(ask: () => Promise<boolean>): void {
  askProof = ask
}

/** What is dangerous is sent again once somebody has proved who they are. */
async function guarded(request: Request): Promise<Response> {
  if (request.method === 'GET') return send(request)
  const body = await request.arrayBuffer() // a request can be sent once, and what a clone sends is a stream
  const { url, method, headers, signal } = request
  const made = () => new Request(url, { method, headers, signal, body: body.byteLength > 0 ? body : null })
  try {
    return await send(made())
  } catch (error) {
    if (!(error instanceof ApiError) || error.type !== mustProve || !(await askProof())) throw error
    return send(made())
  }
}

async function send(request: Request): Promise<Response> {
  request.headers.set('Accept', 'application/json')
  if (request.method !== 'GET') request.headers.set('X-Picket-CSRF', csrfToken())
  let reply: Response
  try {
    reply = await (takeEarly(request) ?? fetch(request))
  } catch (cause) {
    if (request.signal.aborted) throw cause
    saw(false)
    throw new ApiError(0, '', '')
  }
  saw(true)
  if (reply.ok) return reply
  if (reply.status === 401) dropEarly()
  if (reply.status === 401 && !/\/(login|signin|setup|login\/code|login\/passkey\/finish)$/.test(new URL(request.url).pathname)) onSignedOut()
  throw problemFrom(reply.status, reply.statusText, await reply.text())
}

/** Set by the session: what to do when the server says that nobody is signed in. */
let onSignedOut: () => void = () => {}
export function whenSignedOut(handler: () => void): void {
  onSignedOut = handler
}

/** When the server last answered, and whether the last attempt reached it: pages say so when they are stale. */
export interface Contact {
  answered: number | null
  reachable: boolean
}

let contact: Contact = { answered: null, reachable: true }
const watchers = new Set<() => void>()

export const contactStore = {
  get: () => contact,
  subscribe: (watcher: () => void) => {
    watchers.add(watcher)
    return () => void watchers.delete(watcher)
  },
}

function saw(reachable: boolean): void {
  const changed = reachable !== contact.reachable
  const next = { answered: reachable ? Date.now() : contact.answered, reachable }
  if (!changed) {
    contact.answered = next.answered // no page shows it while the server is in reach
    return
  }
  contact = next
  for (const watcher of watchers) watcher()
}

/** Reads a problem document; anything else becomes one with the status text. */
export function problemFrom(status: number, statusText: string, body: string): ApiError {
  try {
    const problem: unknown = JSON.parse(body)
    if (typeof problem === 'object' && problem !== null) {
      const p = problem as Record<string, unknown>
      return new ApiError(status, asText(p.title) || statusText, asText(p.detail), fieldProblems(p.errors), asText(p.type))
    }
  } catch {
    // Not JSON: a proxy in between answered.
  }
  return new ApiError(status, statusText || `HTTP ${status}`, body.length < 300 ? body.trim() : '')
}

function fieldProblems(errors: unknown): FieldProblem[] {
  if (!Array.isArray(errors)) return []
  return errors.flatMap((e: unknown) => {
    if (typeof e !== 'object' || e === null) return []
    const { location, message } = e as Record<string, unknown>
    return [{ path: asText(location), message: asText(message) }]
  })
}

const asText = (value: unknown): string => (typeof value === 'string' ? value : '')

/** The server compares this header with the cookie: another site can send the cookie but not read it. */
export function csrfToken(cookies: string = document.cookie): string {
  for (const part of cookies.split(';')) {
    const [name, ...value] = part.trim().split('=')
    if (name === 'picket_csrf') return decodeURIComponent(value.join('='))
  }
  return ''
}

/** fetch cannot report how much it has sent, so captures and releases go by XMLHttpRequest. */
export function upload<T>(path: string, file: File, onProgress: (fraction: number) => void, signal: AbortSignal, as: 'form' | 'raw' = 'form'): Promise<T> {
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest()
    call.open('POST', path)
    call.setRequestHeader('Accept', 'application/json')
    call.setRequestHeader('X-Picket-CSRF', csrfToken())
    call.upload.onprogress = (e) => e.lengthComputable && onProgress(e.loaded / e.total)
    call.onerror = () => reject(new ApiError(0, '', ''))
    call.onabort = () => reject(new DOMException('upload stopped', 'AbortError'))
    call.onload = () => {
      if (call.status >= 200 && call.status < 300) resolve(JSON.parse(call.responseText) as T)
      else reject(problemFrom(call.status, call.statusText, call.responseText))
    }
    signal.addEventListener('abort', () => call.abort())
    if (as === 'raw') {
      call.setRequestHeader('Content-Type', 'application/octet-stream')
      call.send(file)
      return
    }
    const form = new FormData()
    form.append('file', file)
    call.send(form)
  })
}
