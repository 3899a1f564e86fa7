// Locks between members: a queue that belongs to one connection, and ends with it. Within one connection, which may hold a queue of
// its own as often as it likes, they are kept apart here.

import { setMaxListeners } from 'node:events'
import type { Link, Wire } from './connections.ts'
import { onChannel } from './connections.ts'
import { explain } from './explain.ts'

export interface Locks {
  /** true: it is ours until `free`, or until the connection ends. false: somebody has it. */
  take(name: string, signal: AbortSignal): Promise<boolean>
  free(name: string): Promise<void>
}

// Many may be freed at once, and nobody gives up on it.
const never = new AbortController().signal
setMaxListeners(0, never)

export function createLocks(link: Link): Locks {
  const held = new Map<string, Wire>()
  return {
    async take(name, signal) {
      const wire = await link.ready(signal)
      if (held.get(name) === wire) return false
      held.set(name, wire)
      try {
        await onChannel(link, signal, (channel) => channel.assertQueue(name, { exclusive: true, durable: false, autoDelete: false }))
        return true
      } catch (error) {
        if (held.get(name) === wire) held.delete(name)
        // Refused, which has ended the channel: another connection has it.
        if (explain(error).code === 'CONFLICT') return false
        throw error
      }
    },
    async free(name) {
      const wire = held.get(name)
      if (wire === undefined) return
      try {
        // The connection ended, and the lock with it.
        if (link.wire === wire) await onChannel(link, never, (channel) => channel.deleteQueue(name))
      } catch {
        // As above, in this very moment.
      } finally {
        if (held.get(name) === wire) held.delete(name)
      }
    },
  }
}
