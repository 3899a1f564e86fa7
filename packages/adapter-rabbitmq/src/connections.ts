// One link to the server: a connection of the client library that is made again by itself, and what is known about whether the
// server still counts us as alive. A session has two, because an alarm stops a whole connection that publishes. The client's own
// recovery is not used: it brings back the socket, and neither channels nor consumers nor their prefetch.

import { type AdapterContext, access, reconnectDelay } from '@posthorn/core/adapter'
import type { Channel, ConfirmChannel, SocketOptions } from 'amqplib'
import { connect } from 'amqplib'
import { fault, unopened } from './explain.ts'
import type { Host, Settings } from './options.ts'
import { createWire, type LinkHooks, type Wire } from './wire.ts'

export type { LinkHooks, Wire } from './wire.ts'

export interface Link {
  readonly wire: Wire | null
  /** The server answers again, as another connection found: a pause before the next try ends now. */
  hurry(): void
  /** The open connection, as soon as there is one. Rejects when `signal` is aborted or the link is closed. */
  ready(signal: AbortSignal): Promise<Wire>
  close(signal: AbortSignal): Promise<void>
}

const oneHostMs = 30_000
const eachHostMs = 4000
const closeMs = 1000

/** Connects once to each host in turn, and from then on whenever the connection is lost. Rejects with the last host's error. */
export async function openLink(settings: Settings, context: AdapterContext, hooks: LinkHooks, signal: AbortSignal): Promise<Link> {
  const { clock } = context
  const waiters = new Set<() => void>()
  const over = new AbortController()
  let wire: Wire | null = null
  let turn = 0
  let cancelRetry: (() => void) | null = null
  let tries = 0

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
    tries = 0
    hooks.connected(next)
    for (const wake of [...waiters]) wake()
  }

  function lose(lostWire: Wire, error: unknown): void {
    if (wire !== lostWire) return
    wire = null
    if (over.signal.aborted) return
    hooks.lost(error)
    retry()
  }

  function retry(): void {
    tries++
    // Never more than four seconds: sends wait for a server that is back, and their time runs.
    cancelRetry = clock.timer(reconnectDelay(Math.min(tries, 3), context.random), tryAgain)
  }

  function tryAgain(): void {
    cancelRetry = null
    connectNext(over.signal).then(
      (next) => {
        if (over.signal.aborted) next.kill(closed())
        else if (next.lost.aborted) retry()
        else attach(next)
      },
      (error: unknown) => {
        if (over.signal.aborted) return
        hooks.lost(error)
        retry()
      },
    )
  }

  attach(await connectNext(signal))

  return {
    get wire() {
      return wire
    },
    hurry() {
      if (cancelRetry === null) return
      cancelRetry()
      tryAgain()
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
  const withinMs = settings.hosts.length > 1 ? eachHostMs : oneHostMs
  const [password, tls] = await access.answer(() => Promise.all([settings.password(), settings.secure ? settings.tls() : {}]), {
    clock,
    withinMs,
    signal: until,
    attempted: 'connecting',
    asked: 'the functions "password" and "tls"',
  })
  // The socket's own signal: the one way to drop a connection whose other end does not answer.
  const socket = new AbortController()
  const giveUp = (): void => socket.abort(fault('CANCELLED', 'connecting was given up'))
  const cancel = clock.timer(withinMs, () => {
    late = true
    socket.abort(fault('UNAVAILABLE', `${host.hostname}:${host.port} does not answer`))
  })
  let late = false
  until.addEventListener('abort', giveUp, { once: true })
  try {
    if (until.aborted) throw fault('CANCELLED', 'connecting was given up')
    hooks.securing(tls)
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
