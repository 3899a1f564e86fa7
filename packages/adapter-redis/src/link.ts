// One connection of a session, made again by itself. Each connection is a client object of its own, without any retry of the
// client's: what was under way when a connection ended has no answer, and is not sent again by anybody but core.

import type { Clock } from '@posthorn/core/adapter'
import { Command, type Redis } from 'ioredis'
import { connect, destroy, type ServerInfo } from './connect.ts'
import { cleaned, explain, fault } from './explain.ts'
import type { Settings } from './options.ts'
import type { Script } from './scripts.ts'

/** What a command takes. */
export type Argument = string | Buffer

/** A connection that comes back by itself. Commands fail at once while it is away: nothing waits in a queue of ours. */
export interface Link {
  /** The client's object of the connection as it is; null while there is none. */
  readonly client: Redis | null
  readonly info: ServerInfo
  /** Resolves when the connection is there: at once, or when it is back. False: `signal` was aborted or the link closed first. */
  ready(signal: AbortSignal): Promise<boolean>
  /** Runs a script. Rejects with a cleaned error; without an answer within the deadline the connection is dropped. */
  run(script: Script, keys: readonly string[], args: readonly Argument[]): Promise<unknown>
  /** Sends one command. `moreMs`: how much longer than usual its answer may take. */
  call(command: string, args: readonly Argument[], moreMs?: number): Promise<unknown>
  /** Another connection of the session is back: this one does not wait out its pause. */
  hurry(): void
  /** Ends it, politely until the signal says that there is no more time. Twice is fine. */
  close(until: AbortSignal): Promise<void>
}

export interface LinkOptions {
  readonly settings: Settings
  readonly clock: Clock
  readonly random: () => number
  /** As CLIENT LIST shows it. */
  readonly name: string
  /** How long it may be silent while an answer is awaited, in milliseconds; twice that while others of the session hear something. */
  readonly replyMs: number
  /** When any connection of the session heard something: a slow way is told from a dead one by its neighbours. */
  readonly pulse: { heard: number }
  /** While an answer is awaited, ask something small this often, so that a slow server is not taken for a dead one; null: never. */
  readonly beatMs: number | null
  onUp(): void
  onDown(error: Error): void
}

interface Waiting {
  readonly sentAt: number
  /** Of a blocking wait or a large request: how much longer it may take. */
  readonly moreMs: number
  readonly beat: boolean
  done: boolean
}

// Nothing is heard while a large request is still on its way out.
const smallRequest = 256 * 1024
function wayMs(args: readonly Argument[]): number {
  let bytes = 0
  for (const each of args) if (typeof each !== 'string') bytes += each.length
  return Math.max(0, bytes - smallRequest) / 256
}

// From and to, in milliseconds: growing, so that a server that starts is not run over, and never so long that nobody notices
// that it is back.
const pauses = [
  [500, 1000],
  [500, 1500],
  [1000, 2500],
  [2500, 4000],
] as const
// Where nobody is let in, somebody has to do something first; a session asks less than once a second with all its connections.
const refusedPause = [4000, 7000] as const
function pauseMs(tries: number, isRefused: boolean, random: () => number): number {
  const [least, most] = isRefused ? refusedPause : (pauses[Math.min(tries, pauses.length) - 1] ?? [2500, 4000])
  return Math.round(least + random() * (most - least))
}

const away = (): Error => fault('UNAVAILABLE', 'redis: the connection is away; connecting again', 'failed')
const closedError = (): Error => fault('CLOSED', 'redis: the session is closed', 'failed')
const noInfo: ServerInfo = Object.freeze({ clustered: false, clientId: null })
// A timer that comes this late says that this process stood still: what came meanwhile is read first.
const stoodStillMs = 300
// How long a server may take to close its end too.
const politeMs = 500

/** Connects once; rejects with what the server or the socket said. Afterwards it connects again by itself until it is closed. */
export async function openLink(options: LinkOptions, signal: AbortSignal): Promise<Link> {
  const { settings, clock, random, replyMs, beatMs, pulse } = options
  let client: Redis | null = null
  let info = noInfo
  let closed = false
  let tries = 0
  let cancelRetry: (() => void) | null = null
  let cancelWatch: (() => void) | null = null
  let cancelBeat: (() => void) | null = null
  let heard = 0
  let waiting: Waiting[] = []
  const hoping = new Set<(there: boolean) => void>()
  const giveUp = new AbortController()

  // ── the watch: what is silent for too long while something is awaited is dead ────────────────────────────────────
  function silentUntil(): number | null {
    while (waiting.length > 0 && waiting[0]?.done === true) waiting.shift()
    // Answers come in order, so the first is the one that is due.
    const [first] = waiting
    if (first === undefined) return null
    const due = Math.max(heard, first.sentAt) + replyMs + first.moreMs
    return Math.max(due, Math.min(due, pulse.heard) + replyMs)
  }
  function watch(): void {
    if (cancelWatch !== null) return
    const due = silentUntil()
    if (due === null) return
    const wakeAt = Math.max(due, clock.monotonic() + 20)
    cancelWatch = clock.timer(wakeAt - clock.monotonic(), () => {
      cancelWatch = null
      // A process that stood still has not listened: what came meanwhile is read first.
      if (clock.monotonic() - wakeAt <= stoodStillMs) return judge()
      cancelWatch = clock.timer(stoodStillMs, () => {
        cancelWatch = null
        judge()
      })
    })
  }
  function judge(): void {
    const due = silentUntil()
    if (due !== null && due <= clock.monotonic()) drop(fault('UNAVAILABLE', 'redis: the server does not answer', 'unknown'))
    else watch()
  }
  function beat(): void {
    if (beatMs === null || cancelBeat !== null) return
    cancelBeat = clock.timer(beatMs, () => {
      cancelBeat = null
      if (!waiting.some((each) => !each.done && !each.beat)) return
      send('ping', [], 0, true).catch(() => {})
      beat()
    })
  }

  function drop(error: Error): void {
    const old = client
    if (old === null) return
    lost(old, error)
    destroy(old)
  }
  function lost(old: Redis, error: Error): void {
    if (client !== old) return
    client = null
    waiting = []
    cancelWatch?.()
    cancelWatch = null
    cancelBeat?.()
    cancelBeat = null
    if (closed) return
    options.onDown(error)
    retry()
  }
  function retry(isRefused = false): void {
    cancelRetry = clock.timer(pauseMs(++tries, isRefused, random), attempt)
  }
  function attempt(): void {
    cancelRetry = null
    connect(settings, options, giveUp.signal).then(
      (next) => {
        if (closed) destroy(next.client)
        else attach(next)
      },
      (error: unknown) => {
        if (closed) return
        options.onDown(cleaned(error))
        retry(!explain(error).retryable)
      },
    )
  }
  function attach(next: { readonly client: Redis; readonly info: ServerInfo }): void {
    const made = next.client
    client = made
    info = next.info
    tries = 0
    let why: Error | null = null
    made.stream.on('data', () => {
      heard = clock.monotonic()
      pulse.heard = heard
    })
    made.on('error', (error: unknown) => {
      why ??= cleaned(error)
    })
    made.on('close', () => lost(made, why ?? fault('UNAVAILABLE', 'redis: the server closed the connection', 'unknown')))
    if (made.status === 'end' || made.status === 'close') lost(made, fault('UNAVAILABLE', 'redis: the connection was lost', 'unknown'))
    else {
      options.onUp()
      for (const wake of [...hoping]) wake(true)
    }
  }

  function send(name: string, args: readonly Argument[], moreMs: number, isBeat = false): Promise<unknown> {
    const current = client
    if (closed) return Promise.reject(closedError())
    if (current === null || current.status !== 'ready') return Promise.reject(away())
    const entry: Waiting = { sentAt: clock.monotonic(), moreMs: moreMs + wayMs(args), beat: isBeat, done: false }
    waiting.push(entry)
    const command = new Command(name, args as Argument[], { replyEncoding: null })
    current.sendCommand(command)
    watch()
    if (!isBeat) beat()
    return (command.promise as Promise<unknown>).then(
      (reply) => {
        entry.done = true
        if (waiting[0] === entry) waiting.shift()
        return reply
      },
      (error: unknown) => {
        entry.done = true
        if (waiting[0] === entry) waiting.shift()
        const clean = cleaned(error)
        if (settings.sentinels !== null && clean.message.startsWith('READONLY')) drop(clean)
        throw clean
      },
    )
  }

  const link: Link = {
    get client() {
      return client
    },
    get info() {
      return info
    },
    ready(until) {
      if (client !== null && client.status === 'ready') return Promise.resolve(true)
      if (closed || until.aborted) return Promise.resolve(false)
      return new Promise((resolve) => {
        const wake = (there: boolean): void => {
          hoping.delete(wake)
          until.removeEventListener('abort', abort)
          resolve(there)
        }
        const abort = (): void => wake(false)
        hoping.add(wake)
        until.addEventListener('abort', abort, { once: true })
      })
    },
    call: (command, args, moreMs = 0) => send(command, args, moreMs),
    run(script, keys, args) {
      const rest = [String(keys.length), ...keys, ...args]
      return send('evalsha', [script.sha, ...rest], 0).catch((error: unknown) => {
        // It was not run. The server has lost its scripts: a restart, a failover, SCRIPT FLUSH.
        if (error instanceof Error && error.message.startsWith('NOSCRIPT')) return send('eval', [script.source, ...rest], 0)
        throw error
      })
    },
    hurry() {
      if (cancelRetry === null) return
      cancelRetry()
      cancelRetry = clock.timer(Math.round(250 + 250 * random()), attempt)
    },
    async close(until) {
      if (closed) return
      closed = true
      for (const wake of [...hoping]) wake(false)
      giveUp.abort()
      cancelRetry?.()
      cancelWatch?.()
      cancelBeat?.()
      const old = client
      client = null
      if (old === null) return
      if (until.aborted) return destroy(old)
      await new Promise<void>((resolve) => {
        const end = (): void => {
          cancel()
          until.removeEventListener('abort', end)
          destroy(old)
          resolve()
        }
        const cancel = clock.timer(politeMs, end)
        until.addEventListener('abort', end, { once: true })
        old.once('end', end)
        old.disconnect()
      })
    },
  }

  attach(await connect(settings, options, signal))
  return link
}
