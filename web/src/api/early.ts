// The answers that public/early.js asked for before the app was there. Each is taken once, and only while the first page
// loads: later it would be old.

declare global {
  interface Window {
    picketEarly?: Record<string, Promise<Response>>
  }
}

const fresh = 10_000

/** The answer to a request, if it is on its way already. */
export function takeEarly(request: Pick<Request, 'method' | 'url'>, from: Pick<Window, 'picketEarly'> = window, age = performance.now()): Promise<Response> | undefined {
  if (request.method !== 'GET' || age > fresh) return undefined
  const { pathname, search } = new URL(request.url)
  const found = from.picketEarly?.[pathname + search]
  delete from.picketEarly?.[pathname + search]
  return found
}

/** Nobody is signed in: what was asked for as nobody helps nobody. */
export function dropEarly(): void {
  delete window.picketEarly
}
