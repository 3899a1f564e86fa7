// Topics and groups at the server: made by one script, so that a group has all its partitions or none.

import { check, type Session, type TopicPlan, type TopicState } from '@posthorn/core/adapter'
import { fault } from './explain.ts'
import { keyOf } from './keys.ts'
import type { Link } from './link.ts'
import type { RedisTopicOptions } from './options.ts'
import { scripts } from './scripts.ts'

const keyedPartitions = 4
const unkeyedPartitions = 16

/** What `declare` found and did. */
export interface Declared {
  readonly state: TopicState
  /** Groups that were known and had lost a partition: made again, from the oldest message. */
  readonly again: readonly string[]
}

/** Makes a topic and its groups, or looks at them. @throws NOT_FOUND, CONFLICT or what the server says */
export async function declareTopic(link: Link, plan: TopicPlan): Promise<Declared> {
  const { name } = plan
  const native = check.options<RedisTopicOptions>(`cannot declare "${name}"`, plan.native as RedisTopicOptions | undefined, {
    trim: check.oneOf('finished', 'never'),
  })
  const reply = (await link.run(
    scripts.declare,
    [keyOf(name, 'meta')],
    [
      plan.partitions === null ? '' : String(plan.partitions),
      String(plan.keyed ? keyedPartitions : unkeyedPartitions),
      plan.create ? '1' : '0',
      native.trim ?? '',
      plan.retentionMs === null ? '' : String(plan.retentionMs),
      ...plan.groups.flatMap((group) => [group.name, group.start === 'latest' ? 'latest' : 'earliest']),
    ],
  )) as readonly unknown[]
  const [status, have, all, made, again] = reply
  switch (String(status)) {
    case 'OK':
      return {
        state: { name, partitions: Number(String(have)), groups: texts(all), created: texts(made) },
        again: texts(again),
      }
    case 'CONFLICT':
      throw fault('CONFLICT', `redis: topic "${name}" has ${String(have)} partitions, not ${plan.partitions}`, 'failed')
    case 'MISSING':
      throw fault('NOT_FOUND', `redis: topic "${name}" has no group "${String(have)}"`, 'failed')
    default:
      throw fault('NOT_FOUND', `redis: there is no topic "${name}"`, 'failed')
  }
}

/** How many partitions the server says that a topic has. @throws NOT_FOUND */
export async function partitionsAt(link: Link, topic: string): Promise<number> {
  const plan: TopicPlan = {
    name: topic,
    keyed: false,
    partitions: null,
    retentionMs: null,
    groups: [],
    delays: [],
    create: false,
    native: undefined,
  }
  return (await declareTopic(link, plan)).state.partitions
}

const texts = (list: unknown): readonly string[] => (Array.isArray(list) ? list.map(String) : [])

/** How far a group is. @throws NOT_FOUND or what the server says */
export async function inspectGroup(link: Link, topic: string, group: string): Promise<Awaited<ReturnType<Session['inspect']>>> {
  const [status, lag, pending, members] = (await link.run(scripts.inspect, [keyOf(topic, 'meta')], [group])) as readonly unknown[]
  if (String(status) !== 'OK') throw fault('NOT_FOUND', `redis: topic "${topic}" has no group "${group}"`, 'failed')
  const backlog = Number(lag)
  return { backlog: backlog < 0 ? null : backlog, unsettled: Number(pending), members: Number(members) }
}
