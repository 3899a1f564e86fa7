// A live connection: one link for everything that is sent, one on which the server gives signs of life, and, once something is
// consumed, one for owners and one that waits.

import { type Adapter, type AdapterContext, check, type Session, type TopicPlan } from '@posthorn/core/adapter'
import { subscribeBroadcast } from './broadcast.ts'
import { best, clustered } from './capabilities.ts'
import type { Core, OwnerLinks, Tenant } from './core.ts'
import { browse, remove } from './dead.ts'
import { warnOfLosses } from './durability.ts'
import { fault } from './explain.ts'
import { type Link, openLink } from './link.ts'
import type { Settings } from './options.ts'
import { publish } from './publish.ts'
import { createPulse } from './pulse.ts'
import { subscribeGroup } from './subscribe.ts'
import { declareTopic, inspectGroup } from './topology.ts'
import { createWaiter, type Waiter } from './waiter.ts'

interface OpenOwner extends OwnerLinks {
  readonly ends: readonly Link[]
}

const atOnce = AbortSignal.abort()

/** Connects. Rejects with what the server or the socket said. */
export async function openSession(settings: Settings, context: AdapterContext, signal: AbortSignal): ReturnType<Adapter['open']> {
  const { clock, random } = context
  const plans = new Map<string, TopicPlan>()
  const counts = new Map<string, number>()
  const members = new Map<string, number>()
  const tenants = new Set<Tenant>()
  const healing = new Map<string, Promise<boolean>>()
  const down = new Set<string>()
  const ending = new AbortController()
  let closed = false
  let owner: Promise<OpenOwner> | null = null
  // CLIENT SETNAME takes no spaces and nothing that is not printed.
  const name = context.name.replace(/[^!-~]/g, '-')

  const pulse = { heard: clock.monotonic() }
  const links = new Set<Link>()

  const open = async (role: string, until: AbortSignal, onUp: () => void, onDown: () => void): Promise<Link> => {
    let first = true
    const link = await openLink(
      {
        settings,
        clock,
        random,
        name: role === 'main' ? name : `${name}:${role}`,
        replyMs: settings.replyMs,
        pulse,
        beatMs: role === 'waiter' || role === 'pulse' ? null : Math.max(50, Math.ceil(settings.leaseMs / 12)),
        onUp() {
          const again = !first
          first = false
          down.delete(role)
          if (closed) return
          if (again && down.size === 0 && role !== 'pulse') context.report('connected')
          // The server answers: nobody else waits out a pause.
          if (again) for (const each of links) each.hurry()
          onUp()
        },
        onDown(error) {
          const known = down.has(role)
          if (role !== 'pulse') down.add(role)
          if (closed || role === 'pulse') return
          context.report('recovering', error)
          if (!known) onDown()
        },
      },
      until,
    )
    links.add(link)
    return link
  }

  const main = await open(
    'main',
    signal,
    () => {},
    () => {},
  )

  let beating: Link | null = null
  const signs = createPulse(() => beating)
  try {
    beating = await open(
      'pulse',
      signal,
      () => signs.connected(),
      () => {},
    )
  } catch {
    // A server that takes no more connections serves those that it has.
  }
  if (signal.aborted) {
    await Promise.all([main.close(atOnce), beating?.close(atOnce)])
    throw fault('CANCELLED', 'redis: connecting was given up')
  }
  signs.connected()
  void warnOfLosses(main, settings, context)

  async function openOwner(): Promise<OpenOwner> {
    const parts: { link: Link | null; wait: Link | null; waiter: Waiter | null } = { link: null, wait: null, waiter: null }
    const link = await open(
      'owner',
      ending.signal,
      () => {
        for (const tenant of [...tenants]) tenant.up()
      },
      () => {
        for (const tenant of [...tenants]) tenant.down()
      },
    )
    parts.link = link
    try {
      parts.wait = await open(
        'waiter',
        ending.signal,
        () => parts.waiter?.connected(),
        () => {},
      )
    } catch (error) {
      await link.close(atOnce)
      throw error
    }
    const waiter = createWaiter(
      context,
      () => parts.wait,
      () => parts.link,
    )
    parts.waiter = waiter
    if (closed) {
      await Promise.all([link.close(atOnce), waiter.close(atOnce)])
      throw fault('CLOSED', 'redis: the session is closed', 'failed')
    }
    return { link, waiter, ends: [link] }
  }

  function remember(plan: TopicPlan, partitions: number): void {
    counts.set(plan.name, partitions)
    if (!plan.create) return
    const before = plans.get(plan.name)
    const named = new Set(plan.groups.map((group) => group.name))
    const others = before?.groups.filter((group) => !named.has(group.name)) ?? []
    plans.set(plan.name, { ...plan, groups: [...plan.groups, ...others] })
  }

  const core: Core = {
    context,
    settings,
    main,
    plans,
    get closed() {
      return closed
    },
    partitionsOf: (topic) => counts.get(topic),
    owner() {
      if (closed) return Promise.reject(fault('CLOSED', 'redis: the session is closed', 'failed'))
      if (owner === null) {
        const opening = openOwner()
        owner = opening
        // What failed is tried anew by the next who asks.
        opening.catch(() => {
          if (owner === opening) owner = null
        })
      }
      return owner
    },
    enter: (tenant) => void tenants.add(tenant),
    leave: (tenant) => void tenants.delete(tenant),
    declareAgain(topic) {
      const running = healing.get(topic)
      if (running !== undefined) return running
      const plan = plans.get(topic)
      if (plan === undefined) return Promise.reject(fault('NOT_FOUND', `redis: topic "${topic}" is gone from the server`, 'failed'))
      const again: TopicPlan = {
        ...plan,
        partitions: counts.get(topic) ?? plan.partitions,
        groups: plan.groups.map((group) => ({ name: group.name, start: 'earliest' })),
      }
      const work = declareTopic(main, again).then(
        (declared) => {
          healing.delete(topic)
          return declared.again.length > 0 || declared.state.created.length > 0
        },
        (error: unknown) => {
          healing.delete(topic)
          throw error
        },
      )
      healing.set(topic, work)
      return work
    },
    member(topic, group) {
      const key = `${topic} ${group}`
      const nth = (members.get(key) ?? 0) + 1
      members.set(key, nth)
      return nth === 1 ? context.instance : `${context.instance}~${nth}`
    },
  }

  function unlessAborted<T>(work: Promise<T>, until: AbortSignal): Promise<T> {
    if (until.aborted) {
      work.catch(() => {})
      return Promise.reject(fault('CANCELLED', 'redis: given up'))
    }
    return new Promise((resolve, reject) => {
      const abort = (): void => reject(fault('CANCELLED', 'redis: given up'))
      until.addEventListener('abort', abort, { once: true })
      work.then(resolve, reject).finally(() => until.removeEventListener('abort', abort))
    })
  }

  return {
    capabilities: main.info.clustered ? clustered : best,
    get client() {
      return main.client
    },
    async declare({ topics }, until) {
      return unlessAborted(
        Promise.all(
          topics.map(async (plan) => {
            const { state, again } = await declareTopic(main, plan)
            remember(plan, state.partitions)
            for (const group of again)
              context.event('position-lost', {
                topic: plan.name,
                group,
                note: 'the group had lost a partition; made again, from the oldest message',
              })
            return state
          }),
        ),
        until,
      )
    },
    publish: (batch, until) => publish(core, batch, until),
    async subscribe(source, until) {
      if (closed) throw fault('CLOSED', 'redis: the session is closed', 'failed')
      if (source.kind === 'forwarder') throw check.invalid(`cannot consume "${source.topic}"`, 'this server delays by itself')
      return source.kind === 'broadcast' ? subscribeBroadcast(core, source, until) : subscribeGroup(core, source, until)
    },
    browse: (place, after, max, until) => unlessAborted(browse(main, place, after, max), until),
    remove: (place, entries, until) => unlessAborted(remove(main, place, entries), until),
    inspect: (topic, group, until) => unlessAborted(inspectGroup(main, topic, group), until),
    async close(until) {
      if (closed) return
      closed = true
      ending.abort()
      for (const tenant of [...tenants]) tenant.end()
      const opened = owner
      const ends = opened === null ? null : await opened.catch(() => null)
      signs.stop()
      await Promise.all([main.close(until), beating?.close(atOnce), ends?.link.close(until), ends?.waiter.close(atOnce)])
    },
  } satisfies Session
}
