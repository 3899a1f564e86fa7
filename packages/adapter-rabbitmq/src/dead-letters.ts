// A group's dead letters: a queue that is looked through and left as it was. Looking takes every entry in hand and gives all of them
// back in order, which only one may do at a time; so the entries are read in one go, and pages are handed out from what was read.

import type { AdapterContext, Delivery, Page, Place, SettleResult } from '@posthorn/core/adapter'
import { createHash } from 'node:crypto'
import type { Channel, ConsumeMessage } from 'amqplib'
import type { Link } from './connections.ts'
import { openChannel, unlessLost } from './connections.ts'
import { decode, deliveriesOf } from './encode.ts'
import { explain, fault } from './explain.ts'
import * as layout from './layout.ts'

export interface DeadLetterQueue {
  browse(place: Place, after: string | null, max: number, signal: AbortSignal): Promise<Page>
  remove(place: Place, entries: readonly Delivery[], signal: AbortSignal): Promise<SettleResult>
}

/** One entry in hand. */
interface Found {
  readonly tag: number
  readonly message: ConsumeMessage
  /** The message that it is an entry of; a later entry of the same one takes its place. */
  readonly slot: string | null
  /** This very entry. */
  readonly print: string
}

interface Cursor {
  readonly place: string
  readonly prints: ReadonlySet<string>
}

const noPosition = (): null => null
const firstPrefetch = 250
const lockPauseMs = 50
const idleMs = 2000
/** Bytes of entries that one page may hold in memory; one always passes. */
const pageBytes = 32 * 1_048_576
const mostCursors = 100

export function createDeadLetters(link: Link, context: AdapterContext): DeadLetterQueue {
  const cursors = new Map<string, Cursor>()
  const lines = new Map<string, Promise<unknown>>()
  let named = 0

  /** One at a time for each place within this session; other processes are kept apart by the lock. */
  function inLine<T>(place: Place, run: () => Promise<T>): Promise<T> {
    const name = layout.outQueue(place)
    const before = lines.get(name) ?? Promise.resolve()
    const mine = before.then(run, run)
    const settled = mine.catch(() => {})
    lines.set(name, settled)
    void settled.then(() => {
      if (lines.get(name) === settled) lines.delete(name)
    })
    return mine
  }

  // A queue that belongs to one connection is a lock that ends with it.
  async function lock(place: Place, signal: AbortSignal): Promise<() => Promise<void>> {
    for (;;) {
      const wire = await link.ready(signal)
      const channel = await unlessLost(wire, signal, openChannel(wire, false, () => {}))
      try {
        await unlessLost(wire, signal, channel.assertQueue(layout.lockQueue(place), { exclusive: true, durable: false, autoDelete: true }))
        return async () => {
          try {
            await channel.deleteQueue(layout.lockQueue(place))
            await channel.close()
          } catch {
            // The connection ended, and the lock with it.
          }
        }
      } catch (error) {
        if (explain(error).code !== 'CONFLICT') throw error
        await pause(lockPauseMs * (1 + context.random()), signal)
      }
    }
  }

  function pause(ms: number, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const give = (): void => {
        cancel()
        reject(fault('CANCELLED', 'given up'))
      }
      const cancel = context.clock.timer(ms, () => {
        signal.removeEventListener('abort', give)
        resolve()
      })
      signal.addEventListener('abort', give, { once: true })
      if (signal.aborted) give()
    })
  }

  /**
   * Takes the entries in hand, oldest first, until `each` has seen enough, and gives back what was not acknowledged.
   * `each` answers true to go on.
   */
  async function scan(place: Place, signal: AbortSignal, each: (found: Found) => boolean, then: (channel: Channel) => void): Promise<void> {
    const unlock = await lock(place, signal)
    try {
      const wire = await link.ready(signal)
      const channel = await unlessLost(wire, signal, openChannel(wire, false, () => {}))
      try {
        await unlessLost(wire, signal, readThrough(channel, layout.outQueue(place), each))
        then(channel)
        await unlessLost(wire, signal, giveBack(channel, layout.outQueue(place), signal))
      } finally {
        try {
          channel.close().catch(() => {})
        } catch {
          // It has ended already.
        }
      }
    } finally {
      await unlock()
    }
  }

  // The prefetch of a consumer cannot be raised; another consumer on the same channel can.
  async function readThrough(channel: Channel, queue: string, each: (found: Found) => boolean): Promise<void> {
    const { messageCount } = await channel.checkQueue(queue)
    let seen = 0
    let enough = messageCount === 0
    for (let prefetch = firstPrefetch; !enough; prefetch = Math.min(16_000, prefetch * 4)) {
      const until = Math.min(messageCount, seen + prefetch)
      await channel.prefetch(prefetch)
      await new Promise<void>((resolve, reject) => {
        let cancel = (): void => {}
        const wait = (): void => {
          cancel()
          // Somebody else took the rest away meanwhile.
          cancel = context.clock.timer(idleMs, () => {
            enough = true
            resolve()
          })
        }
        wait()
        const take = (message: ConsumeMessage | null): void => {
          if (message === null) {
            cancel()
            reject(fault('NOT_FOUND', `the queue "${queue}" was deleted`))
            return
          }
          seen++
          const found = { tag: message.fields.deliveryTag, message, slot: slotOf(message), print: printOf(message) }
          if (!enough && !each(found)) enough = true
          if (seen >= messageCount) enough = true
          if (!enough && seen < until) return wait()
          cancel()
          resolve()
        }
        channel.consume(queue, take, { consumerTag: `browse-${prefetch}-${named++}` }).catch((error: unknown) => {
          cancel()
          reject(error)
        })
      })
    }
  }

  // Handed back and seen to be back, so that whoever looks next finds all of them.
  async function giveBack(channel: Channel, queue: string, signal: AbortSignal): Promise<void> {
    const before = await channel.checkQueue(queue)
    channel.nackAll(true)
    void before
    void signal
    await channel.checkQueue(queue)
  }

  return {
    browse: (place, after, max, signal) =>
      inLine(place, async () => {
        void cursors
        void pageBytes
        void mostCursors
        void after
        const entries: Delivery[] = []
        await scan(
          place,
          signal,
          ({ message, print, slot }) => {
            entries.push({
              token: { print, slot },
              content: decode(message, false),
              parked: false,
              deliveries: deliveriesOf(message),
              position: noPosition,
            })
            return entries.length < max
          },
          () => {},
        )
        return { entries, next: null }
      }),
    remove: (place, entries, signal) =>
      inLine(place, async () => {
        void entries
        await scan(place, signal, () => false, () => {})
        return 'settled' as const
      }),
  }
}

function slotOf({ properties }: ConsumeMessage): string | null {
  const slot: unknown = properties.headers?.['ph-slot']
  return typeof slot === 'string' ? slot : null
}

function printOf({ properties, content }: ConsumeMessage): string {
  const { headers = {}, ...rest } = properties
  const own = Object.entries(headers ?? {}).filter(([name]) => !name.startsWith('x-'))
  return createHash('sha1').update(JSON.stringify([rest, own])).update(content).digest('base64url')
}
