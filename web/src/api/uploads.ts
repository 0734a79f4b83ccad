// The one queue of captures that are sent to the server.
import { UploadQueue } from '../lib/uploads'
import { queryClient } from './client'
import { upload } from './http'

export const uploads = new UploadQueue(
  (file, progress, signal) => upload('/api/v1/captures', file, progress, signal),
  () => void queryClient.invalidateQueries({ queryKey: ['captures'] }),
)

// Closing the tab would end what is on its way: the browser asks first.
uploads.subscribe(() => {
  window.onbeforeunload = uploads.get().some((u) => u.state === 'sending' || u.state === 'waiting') ? (event) => event.preventDefault() : null
})
