// Exchanges, queues and bindings of a topic and its groups: made, looked at, and made again after the server lost them.

import type { AdapterContext, Place, Topology as Plans, TopicPlan, TopicState } from '@posthorn/core/adapter'
import { naming } from '@posthorn/core/adapter'
import type { Channel } from 'amqplib'
import type { Link } from './connections.ts'
import { onChannel } from './connections.ts'
import { explain, fault } from './explain.ts'
import * as layout from './layout.ts'
import type { RabbitmqTopicOptions, Settings } from './options.ts'
import { topicOptions } from './options.ts'

/** A topic as this session declared it. */
export interface KnownTopic {
  readonly plan: TopicPlan
  readonly native: RabbitmqTopicOptions
  readonly partitions: number
}

export interface Topology {
  declare(plans: Plans, signal: AbortSignal): Promise<readonly TopicState[]>
  /** What was declared of a topic here, if it was. */
  known(topic: string): KnownTopic | undefined
  /** Where a topic's messages are published to. */
  exchangeOf(topic: string): string
  /** The queues of a group: one per partition, or one for all. */
  queuesOf(topic: string, group: string): readonly string[]
  /** What the server has of this topic (of all topics) may be gone: `restore` will make it again. */
  doubt(topic?: string): void
  /** Makes again what is in doubt of a topic that was declared here. Answers the groups that were gone. */
  restore(topic: string, signal: AbortSignal): Promise<readonly string[]>
  /** Makes the lane that holds messages of a place for a step, and the queue it lets them go into. */
  lane(place: Place, step: number, signal: AbortSignal): Promise<string>
}

export function createTopology(link: Link, settings: Settings, context: AdapterContext): Topology {
  const topics = new Map<string, KnownTopic>()
  const doubtful = new Set<string>()
  const restoring = new Map<string, Promise<readonly string[]>>()
  const lanes = new Map<string, Promise<string>>()

  function remember(plan: TopicPlan, native: RabbitmqTopicOptions, partitions: number): void {
    const before = topics.get(plan.name)?.plan
    const named = new Set(plan.groups.map(({ name }) => name))
    const others = before?.groups.filter(({ name }) => !named.has(name)) ?? []
    const delays = plan.delays.length > 0 ? plan.delays : (before?.delays ?? [])
    topics.set(plan.name, { plan: { ...plan, delays, groups: [...plan.groups, ...others] }, native, partitions })
  }

  async function declareOne(plan: TopicPlan, signal: AbortSignal): Promise<TopicState> {
    const native = topicOptions(plan.name, plan.native)
    for (const { name, start } of plan.groups) {
      if (typeof start === 'object')
        throw fault('UNSUPPORTED', `group "${name}" of topic "${plan.name}" cannot start at a time: RabbitMQ keeps nothing to replay`)
    }
    const made = await makeTopic({ link, settings, plan, native, signal })
    remember(plan, native, made.partitions)
    doubtful.delete(plan.name)
    return { name: plan.name, partitions: made.partitions, groups: groupsOf(plan), created: made.created }
  }

  async function restoreNow(topic: string, signal: AbortSignal): Promise<readonly string[]> {
    const found = topics.get(topic)
    if (found === undefined) return []
    const state = await declareOne({ ...found.plan, partitions: found.plan.partitions ?? found.partitions }, signal)
    for (const group of state.created)
      context.event('position-lost', { topic, group, note: 'its queues were gone from the server; declared again, and empty' })
    return state.created
  }

  return {
    async declare({ topics: plans }, signal) {
      const states: TopicState[] = []
      for (const plan of plans) states.push(await declareOne(plan, signal))
      return states
    },
    known: (topic) => topics.get(topic),
    exchangeOf: (topic) => topics.get(topic)?.native.exchange ?? topic,
    queuesOf(topic, group) {
      const found = topics.get(topic)
      if (found === undefined) return [layout.groupQueue(topic, group, null)]
      return queueNames(found.plan, found.native, group, found.partitions)
    },
    doubt(topic) {
      for (const name of topic === undefined ? topics.keys() : [topic]) doubtful.add(name)
      if (topic === undefined) lanes.clear()
      else for (const name of [...lanes.keys()]) if (name.startsWith(`${topic}__`)) lanes.delete(name)
    },
    async restore(topic, signal) {
      if (!doubtful.has(topic)) return []
      let running = restoring.get(topic)
      if (running === undefined) {
        running = restoreNow(topic, signal).finally(() => restoring.delete(topic))
        restoring.set(topic, running)
      }
      return running
    },
    lane(place, step, signal) {
      const stepMs = topics.get(place.topic)?.plan.delays[step]
      // What waits less than the first step waits in the memory of whoever reads the queue: rests are of many lengths.
      if (step === 0 || stepMs === undefined) return Promise.resolve(layout.outQueue(place))
      const name = layout.laneQueue(place, stepMs)
      const known = lanes.get(name)
      if (known !== undefined) return known
      const making = onChannel(link, signal, async (channel) => {
        await channel.assertQueue(layout.outQueue(place), { durable: true, arguments: outArguments(place, topics) })
        await channel.assertQueue(name, { durable: true, arguments: layout.laneArguments(place, stepMs) })
        return name
      })
      lanes.set(name, making)
      making.catch(() => lanes.delete(name))
      return making
    },
  }
}

// A server that reports what reached no queue needs no list of groups, and AMQP has none to give. Where the topic names no group
// others may have made some: a name that no group can have says so, and each publish says how it is.
const groupsOf = (plan: TopicPlan): readonly string[] => (plan.groups.length > 0 ? plan.groups.map(({ name }) => name) : ['?'])

const outArguments = (place: Place, topics: ReadonlyMap<string, KnownTopic>): layout.Arguments =>
  place.role === 'retry' && topics.get(place.topic)?.plan.keyed === true ? layout.single : layout.quorum

function queueNames(plan: TopicPlan, native: RabbitmqTopicOptions, group: string, partitions: number): readonly string[] {
  const own = native.queues?.[group] ?? native.queue
  if (own !== undefined) return [own]
  if (!plan.keyed) return [layout.groupQueue(plan.name, group, null)]
  return Array.from({ length: partitions }, (_, partition) => layout.groupQueue(plan.name, group, partition))
}

interface Making {
  readonly link: Link
  readonly settings: Settings
  readonly plan: TopicPlan
  readonly native: RabbitmqTopicOptions
  readonly signal: AbortSignal
}

async function makeTopic(making: Making): Promise<{ readonly partitions: number; readonly created: readonly string[] }> {
  const { plan, native, settings } = making
  const exchange = native.exchange ?? plan.name
  const make = plan.create && native.declare !== false
  const oneQueue = native.queue !== undefined || native.queues !== undefined
  if (plan.keyed && oneQueue && plan.partitions !== null && plan.partitions !== 1)
    throw fault('CONFLICT', `topic "${plan.name}" reads one existing queue, which is one partition, not ${plan.partitions}`)
  let partitions = 1
  if (exchange !== '') {
    if (!make && !(await exists(making, (channel) => channel.checkExchange(exchange))))
      throw fault('NOT_FOUND', `there is no exchange "${exchange}"`)
    if (plan.keyed && !oneQueue) {
      partitions = make
        ? await makeKeyed(making, exchange)
        : (plan.partitions ?? (native.declare === false ? settings.partitions : await countOf(making, exchange)))
    } else if (make) await makePlain(making, exchange)
  } else if (plan.keyed && !oneQueue) throw fault('INVALID_ARGUMENT', 'the default exchange has no partitions: name the queue as well')
  const created: string[] = []
  for (const { name } of plan.groups) {
    const queues = queueNames(plan, native, name, partitions)
    const there = await exists(making, async (channel) => {
      for (const queue of make ? queues.slice(0, 1) : queues) await channel.checkQueue(queue)
    })
    if (!there && !make) throw fault('NOT_FOUND', `there is no queue "${queues.join('", "')}" of group "${name}"`)
    if (make) await onChannel(making.link, making.signal, (channel) => makeQueues(channel, plan, exchange, queues, plan.keyed && !oneQueue))
    if (!there) created.push(name)
  }
  if (plan.create) await onChannel(making.link, making.signal, (channel) => makeDerived(channel, plan))
  return { partitions, created }
}

/** Looks without making anything. */
async function exists(making: Making, look: (channel: Channel) => Promise<unknown>): Promise<boolean> {
  try {
    await onChannel(making.link, making.signal, look)
    return true
  } catch (error) {
    if (explain(error).code === 'NOT_FOUND') return false
    throw error
  }
}

// A topic without keys, or one of one existing queue: the exchange gives every message to every queue.
async function makePlain({ link, plan, signal }: Making, exchange: string): Promise<void> {
  try {
    await onChannel(link, signal, (channel) => channel.assertExchange(exchange, 'fanout', { durable: true }))
  } catch (error) {
    if (explain(error).code === 'CONFLICT' && plan.keyed === false && /'type'|alternate/.test(String(error)))
      throw fault('CONFLICT', `exchange "${exchange}" is keyed on the server, or of another kind`, 'failed', error)
    throw error
  }
}

// The number of partitions is the server's: the name of the alternate exchange holds it, and declaring the exchange with another
// one is refused. Groups bound for fewer partitions than their neighbours would miss messages that are confirmed.
async function makeKeyed({ link, settings, plan, signal }: Making, exchange: string): Promise<number> {
  const wanted = plan.partitions ?? settings.partitions
  const foreign = layout.foreignExchange(exchange, wanted)
  try {
    await onChannel(link, signal, async (channel) => {
      await channel.assertExchange(foreign, 'fanout', { durable: true })
      await channel.assertExchange(exchange, 'direct', { durable: true, alternateExchange: foreign })
    })
    return wanted
  } catch (error) {
    if (explain(error).code !== 'CONFLICT') throw error
    // It is there with another count: what was made here for ours goes again.
    await onChannel(link, signal, (channel) => channel.deleteExchange(foreign, { ifUnused: true })).catch(() => {})
    const have = currentCount(error)
    if (have === null)
      throw fault('CONFLICT', `exchange "${exchange}" is of another kind on the server: it has no partitions of ours`, 'failed', error)
    if (plan.partitions !== null)
      throw fault('CONFLICT', `topic "${plan.name}" has ${have} partitions on the server, not ${plan.partitions}`, 'failed', error)
    await onChannel(link, signal, (channel) => channel.assertExchange(layout.foreignExchange(exchange, have), 'fanout', { durable: true }))
    return have
  }
}

// Asks by declaring with a count that nobody has: refused, with the true one in the refusal.
async function countOf({ link, signal }: Making, exchange: string): Promise<number> {
  try {
    await onChannel(link, signal, (channel) =>
      channel.assertExchange(exchange, 'direct', { durable: true, alternateExchange: layout.foreignExchange(exchange, 0) }),
    )
  } catch (error) {
    const have = explain(error).code === 'CONFLICT' ? currentCount(error) : null
    if (have !== null) return have
    throw error
  }
  throw fault('CONFLICT', `exchange "${exchange}" has no partitions of ours`)
}

function currentCount(error: unknown): number | null {
  const current = /current is (?:the value )?'([^']*)'/.exec(error instanceof Error ? error.message : '')?.[1]
  return current === undefined ? null : layout.partitionsIn(current)
}

// Bound by partition, and the first one to all that was sent with a routing key that is no partition.
async function makeQueues(channel: Channel, plan: TopicPlan, exchange: string, queues: readonly string[], keyed: boolean): Promise<void> {
  const steps: Promise<unknown>[] = []
  for (const [partition, queue] of queues.entries()) {
    steps.push(channel.assertQueue(queue, { durable: true, arguments: plan.keyed ? layout.single : layout.quorum }))
    if (exchange !== '') steps.push(channel.bindQueue(queue, exchange, keyed ? String(partition) : ''))
  }
  if (keyed && queues[0] !== undefined) steps.push(channel.bindQueue(queues[0], layout.foreignExchange(exchange, queues.length), ''))
  await allOf(steps)
}

/** All answered; the first refusal ends the channel and with it the others. */
async function allOf(steps: readonly Promise<unknown>[]): Promise<void> {
  for (const result of await Promise.allSettled(steps)) if (result.status === 'rejected') throw result.reason
}

async function makeDerived(channel: Channel, plan: TopicPlan): Promise<void> {
  const { name: topic, groups, delays, keyed } = plan
  const steps: Promise<unknown>[] = []
  const make = (place: Place, args: layout.Arguments): void => {
    steps.push(channel.assertQueue(naming.place(place), { durable: true, arguments: args }))
  }
  if (delays.length > 0) make({ topic, role: 'delay', group: null }, layout.quorum)
  for (const { name: group } of groups) {
    make({ topic, role: 'retry', group }, keyed ? layout.single : layout.quorum)
    make({ topic, role: 'dead', group }, layout.quorum)
  }
  await allOf(steps)
}
