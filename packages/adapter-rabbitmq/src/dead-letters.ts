// A group's dead letters: a queue that is looked through and left as it was. Looking takes every entry in hand and gives all of them
// back in order, which only one may do at a time; so the entries are read in one go, and pages are handed out from what was read.

import { createHash } from 'node:crypto'
import type { AdapterContext, Delivery, Page, Place, SettleResult } from '@posthorn/core/adapter'

import type { Channel, ConsumeMessage } from 'amqplib'
import { applied } from './applied.ts'
import type { Link } from './connections.ts'
import { openChannel, unlessLost } from './connections.ts'
import { decode, deliveriesOf } from './decode.ts'
import { explain, fault } from './explain.ts'
import * as layout from './layout.ts'

export interface DeadLetterQueue {
  browse(place: Place, after: string | null, max: number, signal: AbortSignal): Promise<Page>
  remove(place: Place, entries: readonly Delivery[], signal: AbortSignal): Promise<SettleResult>
}

/** One entry in hand. */
interface Found {
  readonly message: ConsumeMessage
  /** The message that it is an entry of; a later entry of the same one takes its place. */
  readonly slot: string | null
  /** This very entry. */
  readonly print: string
  /** Takes it away for good. */
  remove(): void
}

interface Token {
  readonly print: string
}

/** How far somebody has come who reads page after page. */
interface Cursor {
  readonly place: string
  readonly given: Set<string>
  /** Read already, and not handed out yet. */
  ready: Entry[]
  /** There was more than could be kept. */
  more: boolean
}

interface Entry {
  readonly key: string
  readonly print: string
  readonly message: ConsumeMessage
  readonly remove: () => void
}

const noPosition = (): null => null
const firstPrefetch = 250
const lockPauseMs = 50
const idleMs = 1000
const backMs = 10_000
const lookMs = 5
/** Bytes of entries that are kept for the pages to come. */
const keptBytes = 16 * 1_048_576
const mostCursors = 100
const mostKept = 4

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
  async function lock(place: Place, signal: AbortSignal): Promise<Channel> {
    for (;;) {
      const wire = await link.ready(signal)
      const channel = await unlessLost(
        wire,
        signal,
        openChannel(wire, false, () => {}),
      )
      try {
        await unlessLost(wire, signal, channel.assertQueue(layout.lockQueue(place), { exclusive: true, durable: false, autoDelete: false }))
        return channel
      } catch (error) {
        if (explain(error).code !== 'CONFLICT') throw error
        await pause(lockPauseMs * (1 + context.random()), signal)
      }
    }
  }

  async function unlock(channel: Channel, place: Place): Promise<void> {
    try {
      await channel.deleteQueue(layout.lockQueue(place))
      await channel.close()
    } catch {
      // The connection ended, and the lock with it.
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
   * Takes the entries in hand, oldest first, while `each` answers true; runs `then`; gives back what was not removed. What is given
   * back is back when this resolves.
   */
  async function scan(place: Place, signal: AbortSignal, each: (found: Found) => boolean, then: () => void): Promise<void> {
    const queue = layout.outQueue(place)
    const locked = await lock(place, signal)
    try {
      const wire = await link.ready(signal)
      const channel = await unlessLost(
        wire,
        signal,
        openChannel(wire, false, () => {}),
      )
      let left = 0
      let consumers = 0
      try {
        const { messageCount, consumerCount } = await unlessLost(wire, signal, channel.checkQueue(queue))
        left = messageCount
        consumers = consumerCount
        const remove = (message: ConsumeMessage): void => {
          channel.ack(message)
          left--
        }
        await unlessLost(wire, signal, readThrough(channel, queue, messageCount, each, remove))
        then()
        if (left < messageCount) await unlessLost(wire, signal, applied(channel, queue, nextTag))
      } finally {
        await closeChannel(channel)
      }
      await allBack(locked, queue, left, consumers, signal)
    } finally {
      await unlock(locked, place)
    }
  }

  // In the order of their tags the server gives back what they hold.
  const nextTag = (): string => `browse-${String(named++).padStart(9, '0')}`

  async function closeChannel(channel: Channel): Promise<void> {
    try {
      await channel.close()
    } catch {
      // It has ended already, and everything is back.
    }
  }

  // The server hands back after it has answered: when the consumers of the channel are gone from the queue. Whoever looks next must
  // find everything, and new entries, which may arrive meanwhile, must not be taken for what is coming back.
  async function allBack(channel: Channel, queue: string, left: number, consumers: number, signal: AbortSignal): Promise<void> {
    const until = context.clock.monotonic() + backMs
    for (;;) {
      const { messageCount, consumerCount } = await channel.checkQueue(queue)
      if ((messageCount >= left && consumerCount <= consumers) || context.clock.monotonic() >= until) return
      await pause(lookMs, signal)
    }
  }

  // The prefetch of a consumer cannot be raised; another consumer on the same channel can be added.
  async function readThrough(
    channel: Channel,
    queue: string,
    count: number,
    each: (found: Found) => boolean,
    remove: (message: ConsumeMessage) => void,
  ): Promise<void> {
    let seen = 0
    let enough = count === 0
    for (let prefetch = firstPrefetch; !enough; prefetch = Math.min(16_000, prefetch * 4)) {
      const until = Math.min(count, seen + prefetch)
      await channel.prefetch(prefetch)
      await new Promise<void>((resolve, reject) => {
        let cancel = (): void => {}
        const wait = (): void => {
          cancel()
          cancel = context.clock.timer(idleMs, () => void look())
        }
        // Less came than was counted. Either somebody else took the rest, and nothing is left, or we or the server are slow.
        const look = async (): Promise<void> => {
          const before = seen
          try {
            const { messageCount } = await channel.checkQueue(queue)
            if (enough || seen >= until) return
            if (seen > before || messageCount > 0) return wait()
            enough = true
            resolve()
          } catch (error) {
            reject(error)
          }
        }
        const take = (message: ConsumeMessage | null): void => {
          if (message === null) {
            cancel()
            reject(fault('NOT_FOUND', `the queue "${queue}" was deleted`))
            return
          }
          seen++
          if (!enough) enough = !each(foundIn(message, remove)) || seen >= count
          if (enough || seen >= until) {
            cancel()
            resolve()
          } else wait()
        }
        wait()
        channel.consume(queue, take, { consumerTag: nextTag() }).catch((error: unknown) => {
          cancel()
          reject(error)
        })
      })
    }
  }

  function cursorOf(place: Place, after: string | null): Cursor {
    const name = layout.outQueue(place)
    const known = after === null ? undefined : cursors.get(after)
    if (after !== null && (known === undefined || known.place !== name))
      throw fault('INVALID_ARGUMENT', 'this page of dead letters was read too long ago to be continued: begin again')
    return known ?? { place: name, given: new Set(), ready: [], more: true }
  }

  async function fill(cursor: Cursor, place: Place, signal: AbortSignal): Promise<void> {
    const entries = new Map<string, Entry>()
    const replaced: Entry[] = []
    const twins = new Map<string, number>()
    let bytes = 0
    let more = false
    await scan(
      place,
      signal,
      ({ message, slot, print, remove }) => {
        const twin = (twins.get(print) ?? 0) + 1
        twins.set(print, twin)
        const key = slot === null ? `${print} ${twin}` : slot
        const older = entries.get(key)
        if (older !== undefined) {
          replaced.push(older)
          entries.delete(key)
          bytes -= older.message.content.length
        } else if (cursor.given.has(key)) return true
        if (bytes > keptBytes) more = true
        else {
          bytes += message.content.length + 1024
          entries.set(key, { key, print, message, remove })
        }
        return true
      },
      () => {
        for (const { remove } of replaced) remove()
      },
    )
    cursor.ready = [...entries.values()]
    cursor.more = more
  }

  function keep(cursor: Cursor, after: string | null): string {
    const name = after ?? `${context.instance} ${named++}`
    cursors.delete(name)
    cursors.set(name, cursor)
    let kept = 0
    for (const [other, each] of [...cursors].reverse()) {
      if (cursors.size > mostCursors && kept >= mostCursors) cursors.delete(other)
      else if (kept >= mostKept && each.ready.length > 0) {
        // Read again when it goes on.
        each.ready = []
        each.more = true
      }
      kept++
    }
    return name
  }

  async function page(place: Place, after: string | null, max: number, signal: AbortSignal): Promise<Page> {
    const cursor = cursorOf(place, after)
    if (cursor.ready.length === 0 && cursor.more) await fill(cursor, place, signal)
    const taken = cursor.ready.splice(0, Math.max(1, max))
    for (const { key } of taken) cursor.given.add(key)
    const entries = taken.map(
      ({ print, message }): Delivery => ({
        token: { print } satisfies Token,
        content: decode(message, false),
        parked: false,
        deliveries: deliveriesOf(message),
        position: noPosition,
      }),
    )
    if (cursor.ready.length > 0 || cursor.more) return { entries, next: keep(cursor, after) }
    if (after !== null) cursors.delete(after)
    return { entries, next: null }
  }

  async function removeNow(place: Place, entries: readonly Delivery[], signal: AbortSignal): Promise<SettleResult> {
    const wanted = new Map<string, number>()
    for (const { token } of entries) {
      const { print } = token as Token
      wanted.set(print, (wanted.get(print) ?? 0) + 1)
    }
    if (wanted.size === 0) return 'settled'
    try {
      await scan(
        place,
        signal,
        ({ print, remove }) => {
          const count = wanted.get(print)
          if (count === undefined) return true
          remove()
          if (count === 1) wanted.delete(print)
          else wanted.set(print, count - 1)
          return wanted.size > 0
        },
        () => {},
      )
    } catch (error) {
      if (explain(error).code === 'UNAVAILABLE') return 'unknown'
      throw error
    }
    return wanted.size === 0 ? 'settled' : 'stale'
  }

  return {
    browse: (place, after, max, signal) => inLine(place, () => page(place, after, max, signal)),
    remove: (place, entries, signal) => inLine(place, () => removeNow(place, entries, signal)),
  }
}

function foundIn(message: ConsumeMessage, remove: (message: ConsumeMessage) => void): Found {
  const slot: unknown = message.properties.headers?.['ph-slot']
  return {
    message,
    slot: typeof slot === 'string' ? slot : null,
    print: printOf(message),
    remove: () => remove(message),
  }
}

// What is the same each time this entry is read, and of no other. When a message was handed back, the server adds headers of its own
// and sorts all of them.
function printOf({ properties, content }: ConsumeMessage): string {
  const { headers, ...rest } = properties
  const own = Object.entries(headers ?? {})
    .filter(([name]) => !name.startsWith('x-'))
    .sort(([a], [b]) => (a < b ? -1 : 1))
  return createHash('sha1')
    .update(JSON.stringify([rest, own]))
    .update(content)
    .digest('base64url')
}
