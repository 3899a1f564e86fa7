import type { Producer } from '@posthorn/core'
import type { Work } from './messages.ts'

// So many are open at once: enough that batches fill, few enough that the queue stays short.
const mostOpen = 2000

/** Sends messages 0 to `messages` - 1 as an application under load does: without waiting for each. Rejects if one is not stored. */
export function feed(producer: Producer<Work>, messages: number, make: (n: number) => Work): Promise<void> {
  return new Promise((resolve, reject) => {
    let next = 0
    let stored = 0
    const more = (): void => {
      for (const end = Math.min(messages, stored + mostOpen); next < end; next++) producer.send(make(next)).then(done, reject)
    }
    const done = (): void => {
      stored++
      if (stored === messages) resolve()
      else if (next - stored <= mostOpen / 2 && next < messages) more()
    }
    more()
  })
}
