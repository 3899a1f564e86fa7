// A member in a process of its own: it plays one script on the adapter under test and tells the suite all that it sees. Whatever
// it saw is told before anything leaves it for the server, because it may be killed at any moment.

import type { LogEntry, OnceStore } from '@posthorn/core'
import { listen } from './channels.ts'
import { every, later, realClock } from './clock.ts'
import { createConnections } from './connections.ts'
import { consumeOptions } from './defaults.ts'
import type { BrokerProcess, Harness } from './harness.ts'
import type { Script } from './member.ts'
import { type FromMember, type PlainScript, plain, type Seen, type ToMember, topicOf } from './member-messages.ts'
import type { Peer } from './peer.ts'
import { playMember } from './play.ts'
import { seeded } from './random.ts'
import { createRecorder } from './recorder.ts'
import type { Gate, SendRecord } from './trial.ts'
import { realWorld } from './world.ts'

const [, , harnessAt = ''] = process.argv
const { default: harness } = (await import(harnessAt)) as { default: Harness }
const callsMs = 25
/** How long a closed member is listened to: whatever it does now it may not. */
const silenceMs = 300

function say(message: FromMember, done?: () => void): void {
  if (process.send === undefined || !process.connected) return done?.()
  process.send(message, undefined, {}, () => done?.())
}

async function play({ name, address, seed, server: facts, script }: Extract<ToMember, { kind: 'play' }>): Promise<void> {
  const seen: Seen[] = []
  let scheduled = false
  let peer: Peer | undefined
  let told = ''
  const partitions = new Map<string, number>()
  const flush = (done?: () => void): void => {
    scheduled = false
    if (seen.length === 0) return done?.()
    say({ kind: 'seen', seen: seen.splice(0) }, done)
  }
  const tell = (fact: Seen): void => {
    seen.push(fact)
    if (scheduled) return
    scheduled = true
    // With what it says that it saw go its counts: a suite that heard of a handler has heard of its delivery.
    later(() => {
      tellCalls()
      flush()
    })
  }
  const tellCalls = (): void => {
    if (peer === undefined) return
    const calls = JSON.stringify(peer.calls)
    if (calls !== told) tell({ kind: 'calls', calls: structuredClone(peer.calls) })
    told = calls
    for (const [topic, count] of connections.partitions) {
      if (partitions.get(topic) === count) continue
      partitions.set(topic, count)
      tell({ kind: 'partitions', topic, partitions: count })
    }
  }
  const violate = (clause: string, text: string, ids: readonly string[] = []): void => tell({ kind: 'violation', clause, text, ids })
  const note = (text: string, id?: string, at = realClock.monotonic()): void => tell({ kind: 'note', text, id, at })

  for (const how of ['unhandledRejection', 'uncaughtException'] as const) {
    process.on(how, (error: unknown) =>
      violate('LIFE-15', `${how} in ${name}: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`),
    )
  }
  const stopListening = listen((channel, event) =>
    tell({ kind: 'event', name: channel, at: realClock.monotonic(), event: plain(event) as Record<string, unknown> }),
  )
  const notHere = async (): Promise<never> => {
    throw new Error('the broker belongs to the suite')
  }
  const server: BrokerProcess = { ...facts, address, start: notHere, signal: notHere, wipe: notHere }
  const random = seeded(seed)
  const sendNumbers = new Map<SendRecord, number>()
  const connections = createConnections({
    harness,
    server,
    world: realWorld(),
    random,
    journal: { note, violate, history: () => [], violations: [] },
    sends: [],
    pending: new Set(),
    clientLink: async () => ({ address, link: undefined }),
    flush: () => {
      tellCalls()
      flush()
    },
    die() {
      tellCalls()
      flush(() => process.kill(process.pid, 'SIGKILL'))
      // Nothing more runs here while the last words are on their way.
      later(() => process.kill(process.pid, 'SIGKILL'))
    },
    logged: (entry: LogEntry) => tell({ kind: 'log', entry: plain(entry) as LogEntry }),
    sent(record) {
      const n = sendNumbers.get(record) ?? sendNumbers.size
      sendNumbers.set(record, n)
      const { error, ...rest } = record
      tell({ kind: 'send', send: { ...rest, n, value: undefined, code: error?.code } })
    },
  })
  const stopTelling = every(callsMs, tellCalls)
  const gates = createGates()
  const store = createStore(() => flush())
  process.on('message', (message: ToMember) => {
    if (message.kind === 'open') gates.open(message.wait)
    if (message.kind === 'close') void close(message.drainMs)
    if (message.kind === 'work') void store.work(message.call)
    if (message.kind === 'stored') store.ended(message)
  })

  const recorder = createRecorder({
    name,
    now: () => realClock.monotonic(),
    note() {},
    harmed: (id) => violate('FID-1', `the body of ${id} is not what was sent`, [id]),
    tell: (event) => tell({ kind: 'recorder', event }),
  })
  let member: Awaited<ReturnType<typeof playMember>> | undefined
  try {
    member = await playMember(scriptOf(script, gates, store), name, {
      connections,
      random,
      recorder: () => recorder,
      consumeOptions,
      orders: () => script.produce?.orders ?? [],
      began(begun) {
        peer = begun
      },
    })
    tellCalls()
    flush()
    say({ kind: 'ready', instance: member.instance })
  } catch (error) {
    flush()
    const { code } = error as { code?: unknown }
    say({
      kind: 'refused',
      code: typeof code === 'string' ? code : undefined,
      message: error instanceof Error ? error.message : String(error),
    })
  }

  async function close(drainMs: number | undefined): Promise<void> {
    let failure: string | undefined
    try {
      await member?.close(drainMs === undefined ? {} : { drainMs })
    } catch (error) {
      failure = error instanceof Error ? error.message : String(error)
    }
    tellCalls()
    flush()
    say({ kind: 'closed', error: failure })
    await new Promise<void>((resolve) => {
      realClock.timer(silenceMs, resolve)
    })
    const left = peer?.clock.pending() ?? 0
    if (left > 0) violate('LIFE-8', `${name} closed, and ${left} of its timers ${left === 1 ? 'is' : 'are'} still set`)
    stopTelling()
    stopListening()
    tellCalls()
    flush()
    // It ends by itself now: whatever keeps it alive was left behind by the library.
    process.removeAllListeners('disconnect')
    if (process.connected) process.disconnect()
  }
}

interface Gates {
  gate(name: string): Gate
  open(wait: number): void
}
function createGates(): Gates {
  const waiting = new Map<number, () => void>()
  let waits = 0
  return {
    gate: (name) => ({
      name,
      wait: () =>
        new Promise((resolve) => {
          const wait = waits++
          waiting.set(wait, resolve)
          say({ kind: 'wait', gate: name, wait })
        }),
      open() {},
      waiting: 0,
    }),
    open(wait) {
      waiting.get(wait)?.()
      waiting.delete(wait)
    },
  }
}

interface Store {
  store(windowMs: number | undefined): OnceStore<unknown>
  work(call: number): Promise<void>
  ended(message: Extract<ToMember, { kind: 'stored' }>): void
}
/**
 * A store that the suite holds: it opens the transaction, the work is done here, and it says how that ended. What was seen of the
 * work is told first (`flush`), because whoever hears of its end may kill this process.
 */
function createStore(flush: () => void): Store {
  interface Call {
    readonly work: (tx: unknown) => Promise<void>
    readonly resolve: (result: 'done' | 'repeat') => void
    readonly reject: (error: unknown) => void
    failure: { readonly error: unknown } | undefined
  }
  const calls = new Map<number, Call>()
  let made = 0
  return {
    store: (windowMs) => ({
      ...(windowMs === undefined ? {} : { windowMs }),
      once: (key, work) =>
        new Promise((resolve, reject) => {
          const call = made++
          calls.set(call, { work, resolve, reject, failure: undefined })
          say({ kind: 'once', call, key: { ...key } })
        }),
    }),
    async work(number) {
      const call = calls.get(number)
      if (call === undefined) return
      try {
        await call.work(undefined)
      } catch (error) {
        call.failure = { error }
      }
      flush()
      say({ kind: 'worked', call: number, failed: call.failure !== undefined })
    },
    ended({ call: number, result, error }) {
      const call = calls.get(number)
      calls.delete(number)
      // What the work rejected with is passed on unchanged.
      if (result !== undefined) call?.resolve(result)
      else call?.reject(call.failure === undefined ? new Error(error) : call.failure.error)
    },
  }
}

function scriptOf(script: PlainScript, gates: Gates, store: Store): Script {
  const { topic, single, acts, produce, once, forwardTo, ...rest } = script
  const topics = topic?.map(topicOf)
  const [first] = topics ?? []
  return {
    ...rest,
    ...(forwardTo === undefined ? {} : { options: { ...rest.options, forward: { atomic: true, to: forwardTo.map(topicOf) } } }),
    ...(once === undefined ? {} : { once: store.store(once.windowMs) }),
    ...(topics === undefined || first === undefined ? {} : { topic: single ? first : topics }),
    acts: acts.map(({ gate, forward, ...act }) => ({
      ...act,
      ...(gate === undefined ? {} : { gate: gates.gate(gate) }),
      ...(forward === undefined ? {} : { forward: topicOf(forward) }),
    })),
    ...(produce === undefined ? {} : { produce: { ...produce, topic: topicOf(produce.topic) } }),
  }
}

process.on('disconnect', () => process.exit(0))
process.once('message', (message: ToMember) => {
  if (message.kind === 'play') void play(message)
})
