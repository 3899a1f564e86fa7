// A live connection: one link for everything that is sent and looked at, and the members and broadcasts that live beside it.

import { setMaxListeners } from 'node:events'
import { type Adapter, type AdapterContext, check, type Session, type TopicPlan } from '@posthorn/core/adapter'
import { subscribeBroadcast } from './broadcast.ts'
import { capabilitiesOf } from './capabilities.ts'
import type { Core, Tenant } from './core.ts'
import { browse, remove } from './dead.ts'
import { watchServer } from './doctor.ts'
import { fault } from './explain.ts'
import { type Link, openLink } from './link.ts'
import type { Settings } from './options.ts'
import { createPublish } from './publish.ts'
import { createRecords } from './records.ts'
import { subscribeGroup } from './subscribe.ts'
import { countMembers, declareTopic } from './topology.ts'
import type { Wire } from './wire.ts'

/** Connects. Rejects with what the server or the socket said. */
export async function openSession(settings: Settings, context: AdapterContext, signal: AbortSignal): ReturnType<Adapter['open']> {
  const { clock, random } = context
  const tenants = new Set<Tenant>()
  const down = new Set<string>()
  const links = new Set<Link>()
  const turns = new Map<string, Promise<unknown>>()
  const ending = new AbortController()
  setMaxListeners(0, ending.signal)
  let members = 0
  let closed = false
  let closing: Promise<void> | null = null
  let main: Link | null = null
  let cancelBeat = (): void => {}
  let asked: { readonly wire: Wire; readonly at: number } | null = null

  const records = createRecords({
    id: context.instance,
    current: () => main?.wire ?? null,
    timer: (ms, run) => clock.timer(ms, run),
    changed(topic, before, after) {
      context.event('partitions-changed', { topic, note: `it had ${before} partitions, and the server says ${after ?? 'that it is gone'}` })
    },
    groupGone: (topic, group) => restore(topic, group),
  })
  const server = watchServer(context, settings)
  const plans = new Map<string, TopicPlan>()
  let healing: Promise<void> | null = null

  function state(name: string, up: boolean, error?: unknown): void {
    if (closed) return
    const before = down.size
    if (up) down.delete(name)
    else {
      down.add(name)
      return context.report('recovering', error)
    }
    if (before > 0 && down.size === 0) context.report('connected')
  }

  main = await openLink(
    {
      settings,
      clock,
      random,
      peers: links,
      clientId: `ph!c!${context.instance}`,
      clean: true,
      expirySeconds: 0,
      receiveMaximum: 1000,
      acknowledge: 'at-once',
      onMessage(packet) {
        if (!server.take(packet)) records.take(packet)
        return true
      },
      async greet(wire) {
        server.check(wire)
        await records.greet(wire)
        server.greet(wire)
      },
      onUp() {
        // First: whoever hears of the connection may send at once.
        if (main !== null) heal()
        state('main', true)
      },
      onDown: (error) => state('main', false, error),
    },
    signal,
  )
  beat()

  /** The server is back, and may have forgotten what was declared: it is declared again before anything is sent. */
  function heal(): void {
    for (const plan of plans.values())
      healed(
        inTurn(plan.name, async () => {
          const { partitions, groups } = await records.look(plan.name)
          if (partitions !== null && plan.groups.every(({ name }) => groups.has(name))) return
          const { created } = await declareTopic(core, plan, ending.signal)
          for (const group of created) tellLost(plan.name, group)
        }),
      )
  }

  /** Publishes wait for it. */
  function healed(work: Promise<unknown>): void {
    const all = Promise.all([healing, work]).then(
      () => {},
      () => {},
    )
    healing = all
    void all.then(() => {
      if (healing === all) healing = null
    })
  }

  const tellLost = (topic: string, group: string): void => {
    if (!closed)
      context.event('position-lost', {
        topic,
        group,
        note: 'the server lost sessions of the group, with what was in them; made again, from now on',
      })
  }

  const losing = new Set<string>()
  /** A session or a record is gone: the whole group is looked after, and then it is told once. */
  function restore(topic: string, group: string): void {
    const key = `${group}/${topic}`
    const plan = plans.get(topic)
    if (losing.has(key) || closed) return
    if (plan === undefined) return tellLost(topic, group)
    losing.add(key)
    const work = inTurn(topic, () => declareTopic(core, plan, ending.signal)).then(
      () => {},
      () => {},
    )
    healed(work)
    void work.then(() => {
      losing.delete(key)
      tellLost(topic, group)
    })
  }

  function remember(plan: TopicPlan, partitions: number): void {
    if (!plan.create) return
    const before = plans.get(plan.name)
    const named = new Set(plan.groups.map((group) => group.name))
    const others = before?.groups.filter((group) => !named.has(group.name)) ?? []
    plans.set(plan.name, { ...plan, partitions, groups: [...plan.groups, ...others] })
  }

  /** A server that does not answer is gone, whatever its socket says. */
  function beat(): void {
    cancelBeat = clock.timer(settings.keepAliveMs / 2, beat)
    const wire = main?.wire
    if (wire === null || wire === undefined) {
      asked = null
      return
    }
    if (asked !== null && asked.wire === wire) {
      if (clock.monotonic() - asked.at > settings.keepAliveMs)
        main?.drop(fault('UNAVAILABLE', 'mqtt: the server does not answer', 'unknown'))
      return
    }
    const mine = { wire, at: clock.monotonic() }
    asked = mine
    const answered = (): void => {
      if (asked === mine) asked = null
    }
    wire.ping().then(answered, answered)
  }

  const core: Core = {
    context,
    settings,
    main,
    links,
    records,
    get closed() {
      return closed
    },
    enter: (tenant) => void tenants.add(tenant),
    leave: (tenant) => void tenants.delete(tenant),
    member() {
      members++
      return members === 1 ? context.instance : `${context.instance}~${members}`
    },
    state,
    sessionLost: restore,
  }
  const publish = createPublish(core, () => healing)

  /** Declarations of one topic follow each other. */
  function inTurn<T>(topic: string, work: () => Promise<T>): Promise<T> {
    const before = turns.get(topic) ?? Promise.resolve()
    const mine = before.then(work, work)
    const quiet = mine.catch(() => {})
    turns.set(topic, quiet)
    void quiet.then(() => {
      if (turns.get(topic) === quiet) turns.delete(topic)
    })
    return mine
  }

  async function ready(until: AbortSignal): Promise<void> {
    if (closed) throw fault('CLOSED', 'mqtt: the session is closed', 'failed')
    if (!(await core.main.ready(until))) throw fault('CANCELLED', 'mqtt: given up')
  }

  /** `work` gets a signal of its own, to which many connections may listen at once. */
  function unlessAborted<T>(work: (until: AbortSignal) => Promise<T>, until: AbortSignal): Promise<T> {
    if (until.aborted) return Promise.reject(fault('CANCELLED', 'mqtt: given up'))
    const own = new AbortController()
    setMaxListeners(0, own.signal)
    return new Promise((resolve, reject) => {
      const abort = (): void => {
        own.abort()
        reject(fault('CANCELLED', 'mqtt: given up'))
      }
      until.addEventListener('abort', abort, { once: true })
      ready(until)
        .then(() => work(own.signal))
        .then(resolve, reject)
        .finally(() => until.removeEventListener('abort', abort))
    })
  }

  async function shut(all: readonly Tenant[], now: boolean): Promise<void> {
    closed = true
    ending.abort()
    cancelBeat()
    await Promise.all(all.map((tenant) => tenant.end(now)))
    await core.main.close(now)
  }

  const first = core.main.wire
  return {
    capabilities: capabilitiesOf(settings.version, first?.maximumPacketSize ?? 0xffff_ffff),
    get client() {
      return core.main.wire?.client ?? first?.client
    },
    declare: ({ topics }, until) =>
      unlessAborted(
        (given) =>
          Promise.all(
            topics.map(async (plan) => {
              const declared = await inTurn(plan.name, () => declareTopic(core, plan, given))
              remember(plan, declared.partitions)
              return declared
            }),
          ),
        until,
      ),
    publish,
    async subscribe(source, until) {
      if (source.kind === 'forwarder') throw check.invalid(`cannot consume "${source.topic}"`, 'this adapter delays by itself')
      await ready(until)
      return source.kind === 'broadcast' ? subscribeBroadcast(core, source, until) : subscribeGroup(core, source, until)
    },
    browse: (place, after, max, until) => unlessAborted(() => browse(core, place, after, max), until),
    remove: (place, entries, until) => unlessAborted(() => remove(core, place, entries), until),
    inspect: (topic, group, until) =>
      unlessAborted(async (given) => ({ backlog: null, unsettled: null, members: await countMembers(core, topic, group, given) }), until),
    async close(until) {
      const all = [...tenants]
      const drop = (): void => {
        for (const tenant of all) void tenant.end(true)
        void core.main.close(true)
      }
      if (closing === null) closing = shut(all, until.aborted)
      else if (until.aborted) drop()
      until.addEventListener('abort', drop, { once: true })
      await closing
      until.removeEventListener('abort', drop)
    },
  } satisfies Session
}
