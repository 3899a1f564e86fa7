// A live connection to the embedded server: it connects again by itself, notices silence, and renews what it owns.

import type { AdapterContext, Session, TopicPlan } from '../contract.ts'
import { onAbort } from './abort.ts'
import { explain, fault } from './explain.ts'
import type { Operation } from './faults.ts'
import type { Connection } from './link.ts'
import { publish } from './publish.ts'
import { list, look, takeOut } from './serve.ts'
import type { EmbeddedServer } from './server.ts'
import type { SessionCore } from './session-core.ts'
import type { Subscription } from './subscribe.ts'
import { subscribe } from './subscribe.ts'

/** Never more than two tries a second, and never so long that a server that is back waits for its clients. */
const firstPauseMs = 500
const longestPauseMs = 2000

const cancelled = (): Error => fault('CANCELLED', 'embedded broker: given up')
const closedError = (): Error => fault('CLOSED', 'embedded broker: the session is closed', 'failed')

/** Connects, trying again until `signal` is aborted unless the server refuses for good. */
export async function openSession(server: EmbeddedServer, context: AdapterContext, signal: AbortSignal): Promise<Session> {
  const { clock } = context
  const { settings } = server
  server.lend(clock, context.random)
  const link = server.linkOf(context.instance)
  const subscriptions = new Set<Subscription>()
  const plans = new Map<string, TopicPlan>()
  const waiters = new Set<() => void>()
  let connection: Connection | null = null
  let closed = false
  let tries = 0
  let openRequests = 0
  let cancelRetry: (() => void) | null = null
  let cancelBeat: (() => void) | null = null
  let cancelSilence: (() => void) | null = null

  const timer = (ms: number, run: () => void): (() => void) => {
    let cancelledTimer = false
    const cancel = clock.timer(ms, () =>
      link.whenThawed(() => {
        if (!cancelledTimer) run()
      }),
    )
    return () => {
      cancelledTimer = true
      cancel()
    }
  }

  const connect = (): Promise<Connection> =>
    link.connect(clock, 2 * settings.heartbeatMs, (error) => {
      if (connection !== null) lose(connection, error)
    })

  function pause(): number {
    const base = Math.min(longestPauseMs, firstPauseMs * 2 ** tries++)
    return base * (1 + 0.5 * context.random())
  }

  function lose(lost: Connection, error: unknown): void {
    if (connection !== lost) return
    connection = null
    watch()
    for (const subscription of [...subscriptions]) subscription.disconnected()
    if (closed) return
    context.report('recovering', error)
    retry()
  }

  function retry(): void {
    cancelRetry = timer(pause(), async () => {
      cancelRetry = null
      try {
        const next = await connect()
        if (closed) {
          next.hangUp()
          return
        }
        // It may have ended between the server's answer and this line.
        if (!next.open) throw fault('UNAVAILABLE', 'embedded broker: the connection was lost')
        tries = 0
        attach(next)
        context.report('connected')
        for (const wake of [...waiters]) wake()
        for (const subscription of [...subscriptions]) subscription.connected(next)
      } catch {
        if (!closed) retry()
      }
    })
  }

  function attach(next: Connection): void {
    connection = next
    watch()
  }

  // Silence is worth noticing only while something is owned or awaited; an idle client needs no timer.
  function watch(): void {
    const on = connection !== null && (subscriptions.size > 0 || openRequests > 0)
    if (!on) {
      cancelBeat?.()
      cancelSilence?.()
      cancelBeat = cancelSilence = null
      connection?.watch(false)
    } else if (cancelBeat === null && connection !== null) {
      connection.heard = clock.monotonic()
      connection.watch(true)
      beat(connection)
      listen(connection, 2 * settings.heartbeatMs)
    }
  }

  function beat(current: Connection): void {
    cancelBeat = timer(settings.heartbeatMs, () => {
      if (connection !== current) return
      const sentAt = clock.monotonic()
      const owners = [...subscriptions].flatMap((subscription) => {
        const member = subscription.member()
        return member === null ? [] : [{ subscription, member }]
      })
      const answered = (alive: readonly boolean[]): void => {
        for (const [index, { subscription, member }] of owners.entries()) subscription.renewed(member, sentAt, alive[index] ?? false)
      }
      current.request('renew', 16 + 16 * owners.length, 0, () => server.renew(owners.map(({ member }) => member))).then(answered, () => {})
      if (connection === current) beat(current)
    })
  }

  function listen(current: Connection, ms: number): void {
    const due = clock.monotonic() + ms
    cancelSilence = timer(ms, () => {
      if (connection !== current) return
      const now = clock.monotonic()
      // A client that stood still has not listened; what came meanwhile is still to be read.
      if (now - due > settings.heartbeatMs / 2) current.heard = Math.max(current.heard, now - settings.heartbeatMs)
      const left = current.heard + 2 * settings.heartbeatMs - now
      if (left > 0) listen(current, left)
      else core.broken(current)
    })
  }

  const core: SessionCore = {
    server,
    context,
    closed: () => closed,
    connection: () => connection,
    ready(until) {
      if (closed) return Promise.reject(closedError())
      if (until.aborted) return Promise.reject(cancelled())
      if (connection !== null) return Promise.resolve(connection)
      return new Promise((resolve, reject) => {
        const wake = (): void => {
          waiters.delete(wake)
          forget()
          if (closed) reject(closedError())
          else if (until.aborted || connection === null)
            reject(fault('UNAVAILABLE', 'embedded broker: the server could not be reached', 'failed'))
          else resolve(connection)
        }
        const forget = onAbort(until, wake)
        waiters.add(wake)
      })
    },
    broken(current) {
      current.hangUp()
      lose(current, fault('UNAVAILABLE', 'embedded broker: the server does not answer'))
    },
    timer,
    remember(subscription) {
      subscriptions.add(subscription)
      watch()
    },
    forget(subscription) {
      subscriptions.delete(subscription)
      watch()
    },
    async open(request) {
      openRequests++
      watch()
      try {
        return await request
      } finally {
        openRequests--
        watch()
      }
    },
    async declareAgain(current, topic, group) {
      const plan = plans.get(topic)
      if (plan === undefined) return false
      const again: TopicPlan = { ...plan, groups: plan.groups.map(({ name }) => ({ name, start: 'earliest' })) }
      const states = await current.request('declare', 256, settings.replyMs, () => server.declare({ topics: [again] }))
      return group === null || states.some((state) => state.created.includes(group))
    },
  }

  /** A request that a caller may give up. */
  async function call<T>(operation: Operation, until: AbortSignal, bytes: number, run: () => T): Promise<T> {
    const current = await core.ready(until)
    if (until.aborted) throw cancelled()
    const request = current.request(operation, bytes, 0, run)
    let forget = (): void => {}
    const given = new Promise<never>((_, reject) => {
      forget = onAbort(until, () => reject(cancelled()))
    })
    try {
      return await core.open(Promise.race([request, given]))
    } finally {
      forget()
      request.catch(() => {})
    }
  }

  function remember(plan: TopicPlan): void {
    if (!plan.create) return
    const before = plans.get(plan.name)
    const known = new Set(plan.groups.map(({ name }) => name))
    const others = before?.groups.filter(({ name }) => !known.has(name)) ?? []
    plans.set(plan.name, {
      ...plan,
      delays: plan.delays.length > 0 ? plan.delays : (before?.delays ?? []),
      groups: [...plan.groups, ...others],
    })
  }

  while (connection === null) {
    try {
      const first = await untilAborted(connect(), signal)
      if (!first.open) throw fault('UNAVAILABLE', 'embedded broker: the connection was lost', 'failed')
      tries = 0
      attach(first)
    } catch (error) {
      const { code } = explain(error)
      if (signal.aborted || (code !== 'UNAVAILABLE' && code !== 'TIMED_OUT')) {
        server.forget(link)
        throw error
      }
      await untilAborted(new Promise<void>((resolve) => timer(pause(), resolve)), signal).catch(() => {
        server.forget(link)
        throw error
      })
    }
  }

  return {
    capabilities: settings.capabilities,
    client: server,
    async declare(topology, until) {
      const states = await call('declare', until, 256, () => server.declare(topology))
      for (const plan of topology.topics) remember(plan)
      return states
    },
    publish: (batch, until) => publish(core, batch, until),
    async subscribe(source, until) {
      return (await core.open(subscribe(core, source, until))).iterable
    },
    browse: (place, after, max, until) => call('browse', until, 64, () => list(server, place, after, max)),
    remove: (place, entries, until) =>
      call('remove', until, 64, () => {
        const result = takeOut(server, place, entries)
        server.room()
        return result
      }),
    inspect: (topic, group, until) => call('inspect', until, 64, () => look(server, topic, group)),
    close() {
      if (closed) return Promise.resolve()
      closed = true
      cancelRetry?.()
      for (const subscription of [...subscriptions]) subscription.close()
      connection?.hangUp()
      connection = null
      watch()
      for (const wake of [...waiters]) wake()
      server.forget(link)
      return Promise.resolve()
    },
  }
}

/** The promise, or a rejection as soon as the signal is aborted. What comes too late is hung up by its own timeout. */
function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const give = (): void => reject(fault('CANCELLED', 'embedded broker: connecting was given up', 'failed'))
    if (signal.aborted) give()
    const forget = onAbort(signal, give)
    promise.then(resolve, reject).finally(forget)
  })
}
