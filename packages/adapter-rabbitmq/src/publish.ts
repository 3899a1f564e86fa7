// Publishing: persistent, mandatory and confirmed, on one channel per topic, so that what a refusal costs is that topic's alone.
// Nothing is published twice here: what was on its way when a channel ended is unknown, and core repeats it.

import { setMaxListeners } from 'node:events'
import type { Outgoing, PublishReport } from '@posthorn/core/adapter'
import { capabilities } from './capabilities.ts'
import type { Link } from './connections.ts'
import { openChannel, unlessLost } from './connections.ts'
import { explain, fault, refused } from './explain.ts'
import * as layout from './layout.ts'
import type { Outlet, SizeLimit } from './outlet.ts'
import { createOutlet } from './outlet.ts'
import { cancelled, createReport, failedAll, type Report } from './publish-report.ts'
import type { Topology } from './topology.ts'

export interface Publisher {
  publish(batch: readonly Outgoing[], signal: AbortSignal): Promise<PublishReport>
}

const mostOutlets = 500
const full = (): Error => fault('UNAVAILABLE', 'the server takes no messages at the moment: it is short of memory or disk', 'failed')

export function createPublisher(link: Link, topology: Topology, closed: () => boolean): Publisher {
  const outlets = new Map<string, Promise<Outlet>>()
  const limit: SizeLimit = { messageBytes: capabilities.limits.messageBytes }
  let uses = 0

  // Messages for queues of ours go through the default exchange, which takes everything; they have a channel of their own.
  const outletKey = ({ role, topic }: Outgoing['place']): string => `${role === 'main' ? 'main' : 'own'} ${topic}`

  async function outletFor(key: string, topic: string, signal: AbortSignal): Promise<Outlet> {
    const known = outlets.get(key)
    if (known !== undefined) {
      const outlet = await known.catch(() => null)
      if (outlet !== null && !outlet.ended) {
        outlet.usedAt = ++uses
        return outlet
      }
      if (outlets.get(key) === known) outlets.delete(key)
      return outletFor(key, topic, signal)
    }
    const making = openOutlet(key, topic, signal)
    outlets.set(key, making)
    making.catch(() => {
      if (outlets.get(key) === making) outlets.delete(key)
    })
    void closeOldest()
    return making
  }

  async function openOutlet(key: string, topic: string, signal: AbortSignal): Promise<Outlet> {
    const wire = await link.ready(signal)
    // After a lost connection the server may have lost the topic too. That it cannot be made again does not matter here: the publish tells.
    await topology.restore(topic, signal).catch(() => {})
    let outlet: Outlet | null = null
    let early: { readonly error: unknown } | null = null
    const channel = await unlessLost(
      wire,
      signal,
      openChannel(wire, true, (error) => {
        early = { error: error ?? wire.lost.reason ?? fault('UNAVAILABLE', 'the channel was closed') }
        outlet?.end(early.error)
        if (explain(early.error).code === 'NOT_FOUND') topology.doubt(topic)
      }),
    )
    const made = createOutlet(wire, channel, limit, () => {
      if (key.startsWith('own')) topology.doubt(topic)
    })
    made.usedAt = ++uses
    outlet = made
    if (early !== null) made.end((early as { readonly error: unknown }).error)
    return made
  }

  async function closeOldest(): Promise<void> {
    if (outlets.size <= mostOutlets) return
    let oldest: { readonly key: string; readonly outlet: Outlet } | null = null
    for (const [key, making] of [...outlets]) {
      const outlet = await making.catch(() => null)
      if (outlet !== null && outlet.open === 0 && outlet.proving === null && (oldest === null || outlet.usedAt < oldest.outlet.usedAt))
        oldest = { key, outlet }
    }
    if (oldest === null || oldest.outlet.open > 0 || oldest.outlet.proving !== null) return
    outlets.delete(oldest.key)
    // Whoever was given it just now must not write behind its end.
    oldest.outlet.end(fault('UNAVAILABLE', 'the channel was not used for long, and was closed'))
    await oldest.outlet.channel.close().catch(() => {})
  }

  async function publish(batch: readonly Outgoing[], signal: AbortSignal): Promise<PublishReport> {
    if (closed()) return failedAll(batch, fault('CLOSED', 'the session is closed', 'failed'))
    if (signal.aborted) return failedAll(batch, cancelled('failed'))
    if (batch.length > capabilities.limits.batch)
      return failedAll(
        batch,
        fault('INVALID_ARGUMENT', `a batch of ${batch.length} is over the limit of ${capabilities.limits.batch}`, 'failed'),
      )
    const report = createReport(batch.length)
    signal.addEventListener('abort', report.abort, { once: true })
    const groups = byOutlet(batch)
    // Each may wait for its channel, and listens meanwhile.
    if (groups.size > 4) setMaxListeners(0, signal)
    for (const [key, indexes] of groups) void send(key, indexes, batch, signal, report)
    try {
      return await report.result
    } finally {
      signal.removeEventListener('abort', report.abort)
    }
  }

  function byOutlet(batch: readonly Outgoing[]): Map<string, number[]> {
    const groups = new Map<string, number[]>()
    // Neighbours mostly have the same place.
    let place: Outgoing['place'] | null = null
    let group: number[] = []
    for (let index = 0; index < batch.length; index++) {
      const message = batch[index] as Outgoing
      if (message.place !== place) {
        place = message.place
        const key = outletKey(place)
        group = groups.get(key) ?? []
        groups.set(key, group)
      }
      group.push(index)
    }
    return groups
  }

  async function send(
    key: string,
    indexes: readonly number[],
    batch: readonly Outgoing[],
    signal: AbortSignal,
    report: Report,
  ): Promise<void> {
    const { topic, role } = (batch[indexes[0] as number] as Outgoing).place
    let next = 0
    try {
      // Only lanes may have to be made.
      const queues = role === 'main' ? null : await queuesFor(indexes, batch, signal)
      const outlet = await outletFor(key, topic, signal)
      if (closed()) throw fault('CLOSED', 'the session is closed', 'failed')
      const exchange = queues === null ? topology.exchangeOf(topic) : ''
      const routingKeyOf = routingTo(topic)
      while (next < indexes.length) {
        if (signal.aborted) return
        // What is not written to a server that is full is surely not stored; what is would be stored some day.
        if (outlet.wire.blocked && !outlet.ended) {
          outlet.flush()
          throw full()
        }
        if (!outlet.proven && !outlet.ended && outlet.proving !== null) {
          await outlet.proving
          continue
        }
        const index = indexes[next] as number
        const message = batch[index] as Outgoing
        const routingKey = queues === null ? routingKeyOf(message) : (queues[next] as string)
        next++
        report.wrote(index)
        const sent = { message, exchange, routingKey, report, index }
        if (outlet.proven || outlet.ended) outlet.write(sent)
        else await outlet.prove(sent)
      }
      outlet.flush()
    } catch (error) {
      for (; next < indexes.length; next++) {
        const index = indexes[next] as number
        report.done(index, { index, outcome: 'failed', error: signal.aborted ? cancelled('failed') : refused(error) })
      }
    }
  }

  /** The routing key of a topic's messages: their partition, unless there are none or another one is asked for. */
  function routingTo(topic: string): (message: Outgoing) => string {
    const known = topology.known(topic)
    const fixed = known?.native.routingKey ?? (known?.plan.keyed === true ? null : '')
    return ({ partition }) => fixed ?? (partition === null ? '' : String(partition))
  }

  async function queuesFor(indexes: readonly number[], batch: readonly Outgoing[], signal: AbortSignal): Promise<readonly string[]> {
    const queues: string[] = []
    for (const index of indexes) {
      const { place, partition } = batch[index] as Outgoing
      queues.push(place.role === 'dead' || partition === null ? layout.outQueue(place) : await topology.lane(place, partition, signal))
    }
    return queues
  }

  return { publish }
}
