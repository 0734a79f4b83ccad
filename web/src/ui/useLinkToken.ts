import { useEffect, useState } from 'react'
import { tokenIn } from '../lib/linkToken'

/**
 * The token of a one-time link. It is taken out of the address at once: in the history or on a screenshot it would be
 * one too many. A link that is pasted where its page is open already only changes the fragment.
 */
export function useLinkToken(): string | null {
  const [token, setToken] = useState(() => tokenIn(location.hash))
  useEffect(() => {
    const take = () => {
      const found = tokenIn(location.hash)
      if (!found) return
      setToken(found)
      history.replaceState(null, '', location.pathname + location.search)
    }
    take()
    window.addEventListener('hashchange', take)
    return () => window.removeEventListener('hashchange', take)
  }, [])
  return token
}
