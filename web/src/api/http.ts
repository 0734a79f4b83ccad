// One way to the server: JSON in, JSON out, and every failure as an ApiError that a page can show.

/** What went wrong, in the words of the server where it gave any (RFC 9457). */
export class ApiError extends Error {
  constructor(
    /** HTTP status, or 0 when the server did not answer. */
    readonly status: number,
    readonly title: string,
    readonly detail: string,
    /** Problems with single fields, by JSON path. */
    readonly fields: FieldProblem[] = [],
  ) {
    super(detail || title)
    this.name = 'ApiError'
  }
}

export interface FieldProblem {
  path: string
  message: string
}

type Query = Record<string, string | number | boolean | undefined>

interface Options {
  query?: Query
  body?: unknown
  signal?: AbortSignal
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
  contact = { answered: reachable ? Date.now() : contact.answered, reachable }
  if (changed) for (const watcher of watchers) watcher()
}

export async function request<T>(method: string, path: string, options: Options = {}): Promise<T> {
  const headers: Record<string, string> = { Accept: 'application/json' }
  if (options.body !== undefined) headers['Content-Type'] = 'application/json'
  if (method !== 'GET') headers['X-Picket-CSRF'] = csrfToken()
  let answer: Response
  try {
    answer = await fetch(withQuery(path, options.query), {
      method,
      headers,
      body: options.body === undefined ? undefined : JSON.stringify(options.body),
      signal: options.signal,
      credentials: 'same-origin',
    })
  } catch (cause) {
    if (options.signal?.aborted) throw cause
    saw(false)
    throw new ApiError(0, '', '')
  }
  const text = await answer.text()
  saw(true)
  if (!answer.ok) {
    const problem = problemFrom(answer.status, answer.statusText, text)
    if (answer.status === 401 && !path.endsWith('/login') && !path.endsWith('/signin')) onSignedOut()
    throw problem
  }
  return (text === '' ? undefined : JSON.parse(text)) as T
}

export function withQuery(path: string, query: Query = {}): string {
  const wanted = new URLSearchParams()
  for (const [key, value] of Object.entries(query)) {
    if (value !== undefined && value !== '') wanted.set(key, String(value))
  }
  const text = wanted.toString()
  return text === '' ? path : `${path}?${text}`
}

/** Reads a problem document; anything else becomes one with the status text. */
export function problemFrom(status: number, statusText: string, body: string): ApiError {
  try {
    const problem: unknown = JSON.parse(body)
    if (typeof problem === 'object' && problem !== null) {
      const p = problem as Record<string, unknown>
      return new ApiError(status, asText(p.title) || statusText, asText(p.detail), fieldProblems(p.errors))
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
    const { location, path, message } = e as Record<string, unknown>
    return [{ path: asText(location) || asText(path), message: asText(message) }]
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

/** fetch cannot report how much it has sent, so captures go by XMLHttpRequest. */
export function upload<T>(
  path: string,
  file: File,
  onProgress: (fraction: number) => void,
  signal: AbortSignal,
): Promise<T> {
  return new Promise((resolve, reject) => {
    const call = new XMLHttpRequest()
    const form = new FormData()
    form.append('file', file)
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
    call.send(form)
  })
}
