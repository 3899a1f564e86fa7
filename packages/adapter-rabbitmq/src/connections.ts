// One link to the server: a connection of the client library that is made again by itself, and what is known about whether the
// server still counts us as alive. A session has two, because an alarm stops a whole connection that publishes. The client's own
// recovery is not used: it brings back the socket, and neither channels nor consumers nor their prefetch.

import { setMaxListeners } from 'node:events'
import type { AdapterContext } from '@posthorn/core/adapter'
import { reconnectDelay } from '@posthorn/core/adapter'
import type { Channel, ChannelModel, ConfirmChannel, SocketOptions } from 'amqplib'
import { connect } from 'amqplib'
import { fault, unopened } from './explain.ts'
import type { Host, Settings } from './options.ts'

/** A connection that is open, until `lost`. */
export interface Wire {
  readonly model: ChannelModel
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

export interface Link {
  readonly wire: Wire | null
  /** The open connection, as soon as there is one. Rejects when `signal` is aborted or the link is closed. */
  ready(signal: AbortSignal): Promise<Wire>
  close(signal: AbortSignal): Promise<void>
}

export interface LinkHooks {
  readonly purpose: 'consume' | 'publish'
  connected(wire: Wire): void
  lost(error: unknown): void
  blocked(reason: string): void
  unblocked(): void
}

const oneHostMs = 30_000
const eachHostMs = 4000
const closeMs = 1000
const mostPulses = 8

/** Connects once to each host in turn, and from then on whenever the connection is lost. Rejects with the last host's error. */
export async function openLink(settings: Settings, context: AdapterContext, hooks: LinkHooks, signal: AbortSignal): Promise<Link> {
  const { clock } = context
  const waiters = new Set<() => void>()
  const over = new AbortController()
  let wire: Wire | null = null
  let turn = 0
  let cancelRetry: (() => void) | null = null

  async function connectNext(until: AbortSignal): Promise<Wire> {
    let last: unknown = fault('CANCELLED', 'connecting was given up')
    for (const _ of settings.hosts) {
      const host = settings.hosts[turn % settings.hosts.length] as Host
      try {
        return await connectTo(settings, context, hooks, host, until, lose)
      } catch (error) {
        last = error
        turn++
        if (until.aborted) break
      }
    }
    throw last
  }

  function attach(next: Wire): void {
    wire = next
    hooks.connected(next)
    for (const wake of [...waiters]) wake()
  }

  function lose(lostWire: Wire, error: unknown): void {
    if (wire !== lostWire) return
    wire = null
    if (over.signal.aborted) return
    hooks.lost(error)
    retry(1)
  }

  function retry(tries: number): void {
    cancelRetry = clock.timer(reconnectDelay(Math.min(tries, 4), context.random), () => {
      cancelRetry = null
      connectNext(over.signal).then(
        (next) => {
          if (over.signal.aborted) next.kill(closed())
          else if (next.lost.aborted) retry(tries + 1)
          else attach(next)
        },
        (error: unknown) => {
          if (over.signal.aborted) return
          hooks.lost(error)
          retry(tries + 1)
        },
      )
    })
  }

  attach(await connectNext(signal))

  return {
    get wire() {
      return wire
    },
    ready(until) {
      if (over.signal.aborted) return Promise.reject(closed())
      if (until.aborted) return Promise.reject(fault('CANCELLED', 'given up'))
      if (wire !== null) return Promise.resolve(wire)
      return new Promise((resolve, reject) => {
        const wake = (): void => {
          waiters.delete(wake)
          until.removeEventListener('abort', wake)
          if (over.signal.aborted) reject(closed())
          else if (until.aborted || wire === null) reject(fault('UNAVAILABLE', 'the server could not be reached', 'failed'))
          else resolve(wire)
        }
        until.addEventListener('abort', wake, { once: true })
        waiters.add(wake)
      })
    },
    async close(until) {
      if (over.signal.aborted) return
      over.abort()
      cancelRetry?.()
      const last = wire
      wire = null
      for (const wake of [...waiters]) wake()
      if (last === null) return
      if (!until.aborted && !last.blocked) await politely(context, last, until)
      last.kill(closed())
    },
  }
}

const closed = (): Error => fault('CLOSED', 'the session is closed', 'failed')

function politely(context: AdapterContext, wire: Wire, until: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = (): void => {
      cancel()
      until.removeEventListener('abort', end)
      resolve()
    }
    const cancel = context.clock.timer(closeMs, end)
    until.addEventListener('abort', end, { once: true })
    attempt(() => wire.model.close()).then(end, end)
  })
}

/** The promise, also where the client throws instead of rejecting. */
async function attempt<T>(run: () => Promise<T>): Promise<T> {
  return run()
}

async function connectTo(
  settings: Settings,
  context: AdapterContext,
  hooks: LinkHooks,
  host: Host,
  until: AbortSignal,
  lose: (wire: Wire, error: unknown) => void,
): Promise<Wire> {
  const { clock } = context
  // The socket's own signal: the one way to drop a connection whose other end does not answer.
  const socket = new AbortController()
  const giveUp = (): void => socket.abort(fault('CANCELLED', 'connecting was given up'))
  const cancel = clock.timer(settings.hosts.length > 1 ? eachHostMs : oneHostMs, () => {
    late = true
    socket.abort(fault('UNAVAILABLE', `${host.hostname}:${host.port} does not answer`))
  })
  let late = false
  until.addEventListener('abort', giveUp, { once: true })
  try {
    const [password, tls] = [await settings.password(), settings.secure ? await settings.tls() : {}]
    if (until.aborted) throw fault('CANCELLED', 'connecting was given up')
    const options: SocketOptions & { signal: AbortSignal } = {
      ...(tls as SocketOptions),
      noDelay: true,
      keepAlive: true,
      keepAliveDelay: 30_000,
      signal: socket.signal,
      clientProperties: { connection_name: `${context.name} ${hooks.purpose} ${context.instance}`, product: 'posthorn' },
    }
    const model = await connect(
      {
        protocol: settings.secure ? 'amqps' : 'amqp',
        hostname: host.hostname,
        port: host.port,
        username: settings.username,
        password,
        // The client decodes it once more.
        vhost: encodeURIComponent(settings.vhost),
        heartbeat: settings.heartbeatMs / 1000,
      },
      options,
    )
    return createWire(settings, context, hooks, model, socket, lose)
  } catch (error) {
    socket.abort()
    if (late) throw fault('UNAVAILABLE', `${host.hostname}:${host.port} accepted the connection and does not answer`, 'failed', error)
    throw unopened(error, settings)
  } finally {
    cancel()
    until.removeEventListener('abort', giveUp)
  }
}

// The server ends a connection when it heard nothing for two to three heartbeats. The client writes at least every half of one
// while its event loop runs, and we ask for an answer every quarter. So as long as we ran, and heard something, the server cannot
// have given us up before one and a quarter after both. After a gap in our own running nothing of this is known, though the socket
// still looks open, until an answer comes to a question that was asked after the gap.
function createWire(
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
    } else if (now - heardAt > 2 * heartbeatMs) return wire.kill(fault('UNAVAILABLE', 'the server does not answer'))
    ranAt = now
    cancel = clock.timer(heartbeatMs / 4, tick)
    void ask(now)
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
    hooks.unblocked()
  })
  return wire
}

/** A channel of its own, and what ended it. `onEnd` is called once, with the server's error or null. */
export async function openChannel(wire: Wire, confirm: true, onEnd: (error: unknown) => void): Promise<ConfirmChannel>
export async function openChannel(wire: Wire, confirm: false, onEnd: (error: unknown) => void): Promise<Channel>
export async function openChannel(wire: Wire, confirm: boolean, onEnd: (error: unknown) => void): Promise<Channel> {
  if (wire.lost.aborted) throw wire.lost.reason
  const channel = confirm ? await wire.model.createConfirmChannel() : await wire.model.createChannel()
  let told = false
  const end = (error: unknown): void => {
    if (told) return
    told = true
    onEnd(error)
  }
  // What waits for a confirm is told before `close` is: the reason has to be known by then.
  channel.on('error', end)
  channel.on('close', () => end(null))
  return channel
}

// Channels that wait for the next one who has something to declare or to look at.
const spare = new WeakMap<Wire, Channel[]>()

/** Runs `run` on a channel that nobody else uses meanwhile. A refusal of the server costs this channel and nothing else. */
export async function onChannel<T>(link: Link, signal: AbortSignal, run: (channel: Channel) => Promise<T>): Promise<T> {
  const wire = await link.ready(signal)
  const idle = spare.get(wire) ?? []
  spare.set(wire, idle)
  const waiting = idle.pop()
  const opening = waiting === undefined ? openSpare(wire, idle) : null
  const channel = waiting ?? (await unlessLost(wire, signal, opening as Promise<Channel>))
  const running = run(channel)
  // Whoever gives up leaves the channel to what still runs on it.
  running.then(
    () => idle.push(channel),
    () => attempt(() => channel.close()).catch(() => {}),
  )
  return unlessLost(wire, signal, running)
}

async function openSpare(wire: Wire, idle: Channel[]): Promise<Channel> {
  const channel: Channel = await openChannel(wire, false, () => {
    const index = idle.indexOf(channel)
    if (index >= 0) idle.splice(index, 1)
  })
  return channel
}

/** The promise, or a rejection as soon as the connection is lost or the signal is aborted. */
export function unlessLost<T>(wire: Wire, signal: AbortSignal, promise: Promise<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    const forget = (): void => {
      signal.removeEventListener('abort', give)
      wire.lost.removeEventListener('abort', drop)
    }
    const give = (): void => {
      forget()
      reject(fault('CANCELLED', 'given up'))
    }
    const drop = (): void => {
      forget()
      reject(wire.lost.reason)
    }
    promise.then(
      (value) => {
        forget()
        resolve(value)
      },
      (error: unknown) => {
        forget()
        reject(error)
      },
    )
    if (signal.aborted) return give()
    if (wire.lost.aborted) return drop()
    signal.addEventListener('abort', give, { once: true })
    wire.lost.addEventListener('abort', drop, { once: true })
  })
}
