// A live session: two connections, what was declared, and what is subscribed.

import { type AdapterContext, access, type Session } from '@posthorn/core/adapter'
import { capabilities } from './capabilities.ts'
import type { Link, Wire } from './connections.ts'
import { onChannel, openLink } from './connections.ts'
import { createDeadLetters } from './dead-letters.ts'
import { explain, fault } from './explain.ts'
import * as layout from './layout.ts'
import { createLocks } from './locks.ts'
import type { Settings } from './options.ts'
import { createPublisher } from './publish.ts'
import type { Subscription } from './subscribe.ts'
import { subscribe } from './subscribe.ts'
import type { Topology } from './topology.ts'
import { createTopology } from './topology.ts'

/** Connects both links. Rejects with the client's own error; what was opened then is dropped. */
export async function openSession(settings: Settings, context: AdapterContext, signal: AbortSignal): Promise<Session> {
  const subscriptions = new Set<Subscription>()
  const down = new Set<'consume' | 'publish'>()
  let topology: Topology | null = null
  let links: readonly [Link, Link] | null = null
  let opened = false
  let closed = false
  const securing = access.watchVerifying(context)

  const open = (purpose: 'consume' | 'publish', until: AbortSignal): Promise<Link> =>
    openLink(
      settings,
      context,
      {
        purpose,
        connected() {
          // A server that was away may have lost everything.
          if (opened) topology?.doubt()
          down.delete(purpose)
          for (const link of links ?? []) link.hurry()
          if (opened && !closed && down.size === 0) context.report('connected')
        },
        lost(error) {
          down.add(purpose)
          if (opened && !closed) context.report('recovering', error)
        },
        blocked(reason) {
          context.event('blocked', { note: `the server takes no messages at the moment (${reason}); publishes wait` })
        },
        unblocked() {},
        securing,
      },
      until,
    )

  const giveUp = new AbortController()
  const abort = (): void => giveUp.abort()
  signal.addEventListener('abort', abort, { once: true })
  if (signal.aborted) abort()
  const opening = [open('consume', giveUp.signal), open('publish', giveUp.signal)] as const
  try {
    links = await Promise.all(opening)
  } catch (error) {
    giveUp.abort()
    for (const each of opening) each.then((link) => link.close(AbortSignal.abort())).catch(() => {})
    throw error
  } finally {
    signal.removeEventListener('abort', abort)
  }
  const [into, out] = links
  opened = true
  topology = createTopology(into, settings, context)
  const made = topology
  const firstWire = into.wire as Wire
  const locks = createLocks(into)
  const publisher = createPublisher(out, made, () => closed)
  const deadLetters = createDeadLetters(into, context)
  const client = Object.freeze({
    get consuming() {
      return into.wire?.model ?? null
    },
    get publishing() {
      return out.wire?.model ?? null
    },
  })

  return {
    capabilities,
    client,
    declare: (plans, until) => made.declare(plans, until),
    publish: publisher.publish,
    async subscribe(source, until) {
      if (closed) throw fault('CLOSED', 'the session is closed')
      const subscription = await subscribe(
        { link: into, topology: made, locks, settings, context, firstWire, forget: (over) => void subscriptions.delete(over) },
        source,
        until,
      )
      subscriptions.add(subscription)
      return subscription.iterable
    },
    browse: deadLetters.browse,
    remove: deadLetters.remove,
    async inspect(topic, group, until) {
      const queues = made.queuesOf(topic, group)
      const keyed = made.known(topic)?.plan.keyed === true && queues.length > 1
      return onChannel(into, until, async (channel) => {
        let backlog = 0
        let consumers = 0
        for (const queue of queues) {
          const { messageCount, consumerCount } = await channel.checkQueue(queue)
          backlog += messageCount
          consumers = consumerCount
        }
        // Of one active consumer per queue the server tells no more than that; members are counted where they count themselves.
        if (keyed) consumers = await membersOf(into, layout.membersQueue(topic, group), until)
        return { backlog, unsettled: null, members: consumers }
      })
    },
    async close(until) {
      if (closed) return
      closed = true
      for (const subscription of [...subscriptions]) subscription.close()
      await Promise.all([into.close(until), out.close(until)])
    },
  }
}

async function membersOf(link: Link, queue: string, signal: AbortSignal): Promise<number> {
  try {
    return (await onChannel(link, signal, (channel) => channel.checkQueue(queue))).consumerCount
  } catch (error) {
    if (explain(error).code === 'NOT_FOUND') return 0
    throw error
  }
}
