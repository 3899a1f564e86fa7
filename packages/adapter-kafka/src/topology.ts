// Topics and groups at the server: what plans need is made in as few requests as may be, and a group has positions for all its partitions.

import type { TopicPlan, TopicState } from '@posthorn/core/adapter'
import type { Cluster, TopicMeta } from './cluster.ts'
import type { MakeTopics, Wanted } from './create-topics.ts'
import { fault } from './explain.ts'
import { deadPlace, delayPlace, groupIdOf, retryPlace, topicAt } from './names.ts'
import { committedOf, startGroup } from './offsets.ts'
import { type KafkaTopicOptions, topicOptions } from './options.ts'

const keyedPartitions = 4
const unkeyedPartitions = 16

/** What `declare` found and did. */
export interface Declared {
  readonly state: TopicState
  /** Groups that were known and had lost the position of a partition: it is the oldest message now. */
  readonly completed: readonly string[]
  readonly native: KafkaTopicOptions
}

/** Makes a topic, its places and its groups, or looks at them. @throws NOT_FOUND, CONFLICT or what the server says */
export async function declareTopic(cluster: Cluster, make: MakeTopics, plan: TopicPlan): Promise<Declared> {
  const { name } = plan
  const native = topicOptions(name, plan.native)
  const main = topicAt({ topic: name, role: 'main', group: null }, native)
  const lanes = lanesOf(plan, cluster.settings.replicas)
  const found = await cluster.lookAll(plan.create ? [main, ...lanes.map((lane) => lane.name)] : [main])
  let meta = found.get(main) ?? null
  if (meta === null && !plan.create) throw fault('NOT_FOUND', `kafka: there is no topic "${main}"`, 'failed')
  const own: Wanted = {
    name: main,
    partitions: plan.partitions ?? cluster.settings.partitions ?? (plan.keyed ? keyedPartitions : unkeyedPartitions),
    replicas: cluster.settings.replicas,
    config: { ...(plan.retentionMs === null ? {} : { 'retention.ms': String(plan.retentionMs) }), ...native.config },
  }
  if (meta === null) {
    const fresh = await make([own, ...lanes.filter((lane) => found.get(lane.name) === null)])
    meta = fresh.get(main) ?? null
  } else if (plan.create) {
    // A copy is kept by as many nodes as its original.
    const absent = lanes.filter((lane) => found.get(lane.name) === null)
    const { replicas } = meta
    if (absent.length > 0) await make(absent.map((lane) => ({ ...lane, replicas })))
  }
  const partitions = (meta as TopicMeta).leaders.length
  if (plan.partitions !== null && plan.partitions !== partitions)
    throw fault('CONFLICT', `kafka: topic "${main}" has ${partitions} partitions, not ${plan.partitions}`, 'failed')
  const groups = await Promise.all(plan.groups.map((group) => declareGroup(cluster, plan, native, main, group, partitions)))
  const named = (wanted: 'created' | 'completed'): readonly string[] =>
    plan.groups.filter((_, index) => groups[index]?.[wanted] === true).map((group) => group.name)
  return {
    state: { name, partitions, groups: plan.groups.map((group) => group.name), created: named('created') },
    completed: named('completed'),
    native,
  }
}

async function declareGroup(
  cluster: Cluster,
  plan: TopicPlan,
  native: KafkaTopicOptions,
  main: string,
  group: TopicPlan['groups'][number],
  partitions: number,
): Promise<{ readonly created: boolean; readonly completed: boolean }> {
  const id = groupIdOf(plan.name, group.name, native)
  if (plan.create) return await startGroup(cluster, id, main, partitions, group.start)
  const there = await committedOf(cluster, id, main, partitions, false)
  if (there.size === 0) throw fault('NOT_FOUND', `kafka: topic "${plan.name}" has no group "${group.name}"`, 'failed')
  return { created: false, completed: false }
}

// What waits in a lane is taken out by its group, never by age.
const lane = { 'retention.ms': '-1', 'cleanup.policy': 'delete' }

function lanesOf(plan: TopicPlan, replicas: number): readonly Wanted[] {
  const { name, delays } = plan
  const lanes: Wanted[] = []
  const steps = delays.length
  if (steps > 0) lanes.push({ name: topicAt(delayPlace(name), undefined), partitions: steps, replicas, config: lane })
  for (const { name: group } of plan.groups) {
    lanes.push({ name: topicAt(retryPlace(name, group), undefined), partitions: Math.max(1, steps), replicas, config: lane })
    lanes.push({ name: topicAt(deadPlace(name, group), undefined), partitions: 1, replicas, config: { 'cleanup.policy': 'compact' } })
  }
  return lanes
}
