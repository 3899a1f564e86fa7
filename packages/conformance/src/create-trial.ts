// Puts the toolbox together for one run of one clause.

import type { Broker, LogEntry, MessagingError } from '@posthorn/core'
import type { Capabilities } from '@posthorn/core/adapter'
import { atLeast, atMost, ClauseFailure, equal, fail, shown } from './assert.ts'
import type { Connections } from './connections.ts'
import { createConnections } from './connections.ts'
import { consumeOptions, keysOf } from './defaults.ts'
import { createGate } from './gate.ts'
import type { Auditor, BrokerProcess, Harness, Isolation } from './harness.ts'
import type { Journal } from './journal.ts'
import type { RealLinks } from './links.ts'
import { fenceOff, loadOn, sendMany, warmUp } from './messages.ts'
import { type Order, orderMaker, orderTopic } from './orders.ts'
import { type PlayTools, playMember } from './play.ts'
import { createRecorder, type OpenRecorder, type Recorder } from './recorder.ts'
import { createRemoteMembers, type MemberPool, type RemoteMembers } from './remote-member.ts'
import type { Gate, SeenEvent, SendRecord, Trial } from './trial.ts'
import type { World } from './world.ts'

type Mutable<T> = { -readonly [K in keyof T]: T[K] }
export interface TrialParts {
  readonly clause: string
  readonly seed: number
  readonly random: () => number
  readonly harness: Harness
  readonly server: BrokerProcess
  readonly auditor: Auditor
  readonly isolation: Isolation
  readonly capabilities: Capabilities
  readonly world: World
  readonly journal: Journal
  readonly quick: boolean
  readonly slackFactor: number
  readonly events: SeenEvent[]
  readonly written: string[]
  readonly pending: Set<string>
  /** On a real broker: each client's own link. */
  readonly links: RealLinks | undefined
  /** Where members get processes of their own; undefined: they are played here. */
  readonly pool: MemberPool | undefined
}
export interface MadeTrial {
  readonly trial: Trial
  readonly connections: Connections
  readonly sends: readonly SendRecord[]
  readonly recorders: readonly Recorder[]
  readonly logs: readonly LogEntry[]
  readonly errors: readonly unknown[]
  readonly expected: readonly string[]
  readonly remote: RemoteMembers | undefined
  readonly facts: Readonly<Record<string, number>>
  openGates(): void
}

export function createTrial(parts: TrialParts): MadeTrial {
  const { world, journal, server, auditor, isolation, random, capabilities } = parts
  const sends: Mutable<SendRecord>[] = []
  const logs: LogEntry[] = []
  const errors: unknown[] = []
  const recorders: Recorder[] = []
  const gates: Gate[] = []
  const expected: string[] = []
  const facts: Record<string, number> = {}
  const { links, pool } = parts
  function logged(entry: LogEntry, who: string): void {
    logs.push(entry)
    if (entry.level !== 'debug' && logs.length < 500) journal.note(`${who} logs: ${entry.message.slice(0, 200)}`)
  }
  const connections = createConnections({
    harness: parts.harness,
    server,
    world,
    random,
    journal,
    sends,
    pending: parts.pending,
    logged: (entry, peer) => logged(entry, peer.name),
    ...(links === undefined
      ? {}
      : {
          clientLink: async (name) => {
            const link = await links.make(name)
            return { address: link.address, link }
          },
        }),
  })
  const make = orderMaker('o')
  let members = 0
  let side: Promise<Broker> | undefined
  let markers = 0

  const now = (): number => world.clock.monotonic()
  function recorder(name = `group${recorders.length + 1}`): OpenRecorder {
    const made = createRecorder({
      name,
      now,
      note: journal.note,
      harmed: (id) => journal.violate('FID-1', `the body of ${id} is not what was sent`, [id]),
    })
    recorders.push(made)
    return made
  }
  const playTools: PlayTools = {
    connections,
    random,
    recorder,
    consumeOptions,
    orders: (n, keys) => make(n, keysOf(keys), 100),
  }
  const remote =
    pool === undefined || links === undefined
      ? undefined
      : createRemoteMembers({
          pool,
          server,
          links,
          random,
          journal,
          written: parts.written,
          events: parts.events,
          partitions: connections.partitions,
          sends,
          logged: (entry) => logged(entry, 'a member'),
          recorder,
          orders: playTools.orders,
        })

  const trial: Trial = {
    clause: parts.clause,
    seed: parts.seed,
    random,
    capabilities,
    profile: server.profile,
    leaseMs: server.leaseMs,
    recoverMs: server.recoverMs,
    takeoverMs: server.leaseMs + 5000,
    abilities: parts.harness,
    virtual: world.virtual,
    auditor,
    server,
    sends,
    logs,
    stderr: parts.written,
    canary: `canary-${parts.seed.toString(36)}-hunter2`,

    now,
    wall: () => world.clock.now(),
    stepWall: (ms) => world.stepWall(ms),
    until(what, condition, options = {}) {
      const { withinMs = 10_000, seen } = typeof options === 'number' ? { withinMs: options } : options
      return world.until(what, condition, trial.slack(withinMs), seen)
    },
    pass: (ms) => world.sleep(ms),
    sleep: (ms) => world.sleep(ms),
    slack: (ms) => ms * parts.slackFactor,
    size: (n) => (parts.quick ? Math.max(Math.min(n, 10), Math.floor(n / 10)) : n),
    real: (work) => world.real(work),

    async connect(options) {
      return (await connections.connect(options)).broker
    },
    link: (connection) => connections.link(connections.peerOf(connection)),
    wire(connection) {
      const { link } = connections.peerOf(connection)
      return link?.wire ?? trial.notProven('this link carries no bytes')
    },
    calls: (connection) => connections.peerOf(connection).calls,
    open: () => connections.open(),
    adapter: () => connections.adapter(),
    member(script) {
      const name = `m${++members}`
      return remote === undefined ? playMember(script, name, playTools) : remote.start(script, name)
    },
    async team(n, script) {
      const counted = script.recorder === undefined ? { ...script, recorder: recorder() } : script
      const team = await Promise.all(Array.from({ length: n }, () => trial.member(counted)))
      side ??= trial.connect()
      await warmUp(await side, team, counted, trial, connections.partitions, () => `warm:${markers++}`)
      return team
    },

    name: (base) => isolation.name(base),
    topic: (base, options) => orderTopic(isolation.name(base), options),
    orders: (n, { keys = 64, keyNames, bytes = 100 } = {}) =>
      make(n, keyNames === undefined ? keysOf(keys) : keyNames.length === 0 ? [null] : keyNames, bytes),
    send: (broker, topic, orders, options) => sendMany(broker, topic, orders, options),
    load: (broker, topic, options) => loadOn(broker, topic, options, trial, (keys) => make(1, keys, 100)[0] as Order),
    consumeOptions,
    place: (topic, role = 'main', group = 'workers') => ({
      topic: typeof topic === 'string' ? topic : topic.name,
      role,
      group: role === 'retry' || role === 'dead' ? group : null,
    }),

    recorder,
    gate(name = `gate${gates.length + 1}`) {
      const gate = createGate(name)
      gates.push(gate)
      return gate
    },
    fence: (broker, topic, ...seen) => fenceOff(broker, topic, seen, trial, connections.partitions, () => `fence:${markers++}`),
    async settled(topic, group = 'workers', withinMs = 5000) {
      let left: unknown
      await trial.until(
        `nothing of ${topic.name} is left for ${group}`,
        async () => {
          const [remaining, unsettled] = [await auditor.remaining(topic.name, group), await auditor.unsettled(topic.name, group)]
          left = { remaining, unsettled }
          return remaining === 0 && unsettled === 0
        },
        { withinMs, seen: () => left },
      )
    },
    async crash(signal = 'SIGKILL') {
      journal.note(`the server gets ${signal}`)
      await server.signal(signal)
    },
    async restart() {
      await server.start()
      journal.note('the server runs')
    },
    events(name) {
      const found = name === undefined ? parts.events : parts.events.filter((seen) => seen.name === name)
      // Members in other processes tell theirs a little later.
      return remote === undefined ? found : found.toSorted((a, b) => a.at - b.at)
    },
    note: (text, id) => journal.note(text, id),
    fact(name, value) {
      facts[name] = Math.max(value, facts[name] ?? 0)
    },
    rounds: (n, real) => (world.virtual ? n : real),

    equal,
    atMost,
    atLeast,
    ok(condition, what, ids) {
      if (!condition) fail(what, ids)
    },
    fail,
    async rejects(promise, code, { naming = [], what = 'the call' } = {}) {
      const codes = typeof code === 'string' ? [code] : code
      let value: unknown
      try {
        value = await promise
      } catch (error) {
        errors.push(error)
        const found = error as MessagingError
        if (found?.name !== 'MessagingError') fail(`${what}: expected ${codes.join(' or ')}, but it rejected with ${shown(error)}`)
        if (!codes.includes(found.code))
          fail(`${what}: expected ${codes.join(' or ')}, but it rejected with ${found.code}: ${found.message}`)
        for (const text of naming)
          if (!found.message.includes(text)) fail(`${what}: its error should name ${shown(text)}: ${found.message}`)
        return found
      }
      return fail(`${what}: expected ${codes.join(' or ')}, but it resolved with ${shown(value)}`)
    },
    struck(what, inFlight) {
      const hit = typeof inFlight === 'number' ? inFlight > 0 : inFlight
      journal.note(`fault: ${what} in flight: ${inFlight}`)
      if (hit) {
        facts['struck'] = (facts['struck'] ?? 0) + 1
        facts[`in flight: ${what}`] = (facts[`in flight: ${what}`] ?? 0) + Number(inFlight)
      }
      if (!hit) throw new ClauseFailure('vacuous', `the fault hit nothing: no ${what} in flight`)
    },
    notProven(reason) {
      throw new ClauseFailure('not proven', reason)
    },
    expectUnhandled(text) {
      expected.push(text)
    },
  }

  return {
    trial,
    connections,
    sends,
    recorders,
    logs,
    errors,
    expected,
    remote,
    facts,
    openGates() {
      for (const gate of gates) gate.open()
    },
  }
}
