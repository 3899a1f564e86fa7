// A connection while it is open: whether the server still counts us as alive, whether it takes messages, and how it ended.

import { setMaxListeners } from 'node:events'
import type { AdapterContext } from '@posthorn/core/adapter'
import type { Channel, ChannelModel } from 'amqplib'
import { type Deliveries, deliveriesOf } from './deliveries.ts'
import { fault } from './explain.ts'
import type { RabbitmqTls, Settings } from './options.ts'

/** A connection that is open, until `lost`. */
export interface Wire {
  readonly model: ChannelModel
  readonly deliveries: Deliveries
  /** Aborted when it is over; its reason is the error. */
  readonly lost: AbortSignal
  /** The server stopped taking messages from it for want of memory or disk. */
  readonly blocked: boolean
  /** Something came from the server just now. */
  heard(): void
  /** When the latest question was asked that has its answer; monotonic milliseconds. */
  readonly answeredAt: number
  /** Monotonic milliseconds until which the server cannot have given this connection up. */
  aliveUntil(): number
  /** Ends it without a word. */
  kill(error: unknown): void
}

/** What a session does when something happens to one of its connections. */
export interface LinkHooks {
  readonly purpose: 'consume' | 'publish'
  connected(wire: Wire): void
  lost(error: unknown): void
  blocked(reason: string): void
  unblocked(): void
  /** It is about to be opened with this TLS. */
  securing(tls: RabbitmqTls): void
}

const mostPulses = 8

/** What is used of the client beside its declared interface. */
interface Inside {
  readonly connection: { readonly stream: { on(event: 'readable', listener: () => void): void } }
}

// The server ends a connection when it heard nothing for two to three heartbeats. The client writes at least every half of one
// while its event loop runs, and we ask for an answer every quarter. So as long as we ran, and heard something, the server cannot
// have given us up before one and a quarter after both. After a gap in our own running nothing of this is known, though the socket
// still looks open, until an answer comes to a question that was asked after the gap.
/** Watches over a connection that was opened. `lose` is called once, when it is over. */
export function createWire(
  settings: Settings,
  context: AdapterContext,
  hooks: LinkHooks,
  model: ChannelModel,
  socket: AbortController,
  lose: (wire: Wire, error: unknown) => void,
): Wire {
  const { clock } = context
  const { heartbeatMs } = settings
  const lost = new AbortController()
  // Every channel listens for its end, and there may be hundreds.
  setMaxListeners(0, lost.signal)
  const idle: Channel[] = []
  let pulses = 0
  let ranAt = clock.monotonic()
  let heardAt = ranAt
  let answeredAt = Number.NEGATIVE_INFINITY
  let gapAt: number | null = null
  let blocked = false
  let cause: unknown
  let cancel = clock.timer(heartbeatMs / 4, tick)

  function noteGap(now: number): void {
    if (now - ranAt > heartbeatMs / 2) gapAt = now
  }

  function tick(): void {
    const now = clock.monotonic()
    const gap = now - ranAt > heartbeatMs / 2
    if (gap) {
      gapAt = now
      // Whoever stood still has not listened: what came meanwhile is still to be read.
      heardAt = Math.max(heardAt, now - heartbeatMs)
      // An alarm is no death: the server reads nothing then, and its own heartbeats go on, which the client watches.
    } else if (!blocked && now - heardAt > 2 * heartbeatMs) return wire.kill(fault('UNAVAILABLE', 'the server does not answer'))
    ranAt = now
    watch(now)
    void ask(now)
  }
  // Silence ends at two heartbeats, not at the next quarter after them.
  function watch(now: number): void {
    const left = heardAt + 2 * heartbeatMs - now
    cancel = clock.timer(Math.min(heartbeatMs / 4, Math.max(left + 1, 20)), tick)
  }

  async function ask(sentAt: number): Promise<void> {
    let channel = idle.pop()
    if (channel === undefined) {
      if (pulses >= mostPulses) return
      pulses++
    }
    try {
      if (channel === undefined) {
        channel = await model.createChannel()
        const ended = (): void => {
          pulses--
        }
        channel.on('error', () => {})
        channel.on('close', ended)
      }
      const asked = clock.monotonic()
      // It exists on every server, and looking at it needs no right.
      await channel.checkExchange('amq.direct')
      idle.push(channel)
      wire.heard()
      answeredAt = Math.max(answeredAt, asked)
      if (gapAt !== null && Math.max(sentAt, asked) >= gapAt) {
        gapAt = null
        ranAt = Math.max(ranAt, asked)
      }
    } catch {
      // The connection is over, or will be found out to be.
    }
  }

  function end(error: unknown): void {
    if (lost.signal.aborted) return
    cancel()
    lost.abort(cause ?? error ?? fault('UNAVAILABLE', 'the connection was closed'))
    // A connection that ended on our side may have a socket left that waits for the other end.
    socket.abort()
    lose(wire, lost.signal.reason)
  }

  const wire: Wire = {
    model,
    deliveries: deliveriesOf(model),
    lost: lost.signal,
    get blocked() {
      return blocked
    },
    heard() {
      heardAt = clock.monotonic()
    },
    get answeredAt() {
      return answeredAt
    },
    aliveUntil() {
      const now = clock.monotonic()
      noteGap(now)
      return gapAt === null ? Math.min(ranAt, heardAt) + 1.25 * heartbeatMs : Math.min(ranAt, heardAt, gapAt - 1)
    },
    kill(error) {
      cause ??= error
      end(error)
    },
  }
  // Whatever comes is a sign of life: on a slow way the server's own heartbeats are here long before the answers.
  ;(model as unknown as Inside).connection.stream.on('readable', () => wire.heard())
  model.on('error', (error) => {
    cause ??= error
  })
  model.on('close', end)
  model.on('blocked', (reason) => {
    blocked = true
    hooks.blocked(String(reason))
  })
  model.on('unblocked', () => {
    blocked = false
    wire.heard()
    hooks.unblocked()
  })
  return wire
}
