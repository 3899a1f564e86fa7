// Making topics and groups at the server, or looking at them. One call is one step: nobody sees half of it.

import type { TopicPlan, TopicState, Topology } from '../contract.ts'
import { fault } from './explain.ts'
import { refuseUnknown } from './options.ts'
import type { Hub } from './store.ts'
import { Topic } from './topic.ts'

const named = (plan: TopicPlan): string => `topic "${plan.name}"`

/** Throws what is wrong with a plan on this server, before anything is made of any plan. */
function examine(hub: Hub, plan: TopicPlan): void {
  hub.check('declare', plan.name)
  const { capabilities } = hub.settings
  if (plan.native !== undefined && plan.native !== null) {
    if (typeof plan.native !== 'object')
      throw fault('INVALID_ARGUMENT', `embedded broker: native options of ${named(plan)} must be an object`)
    refuseUnknown(plan.native, [], `native option of ${named(plan)}`)
  }
  if (plan.partitions !== null && (!Number.isSafeInteger(plan.partitions) || plan.partitions < 1)) {
    throw fault('INVALID_ARGUMENT', `embedded broker: ${named(plan)} cannot have ${plan.partitions} partitions`)
  }
  for (const { name, start } of plan.groups) {
    if (typeof start === 'object' && capabilities.replay === 'none') {
      throw fault('UNSUPPORTED', `embedded broker: group "${name}" of ${named(plan)} cannot start at a time: this server has no replay`)
    }
  }
  const topic = hub.topics.get(plan.name)
  if (topic === undefined) {
    if (!plan.create) throw fault('NOT_FOUND', `embedded broker: there is no ${named(plan)}`)
    return
  }
  // Whoever only looks may know no more than the name.
  if (plan.create && topic.keyed !== plan.keyed) {
    throw fault('CONFLICT', `embedded broker: ${named(plan)} is ${topic.keyed ? '' : 'not '}keyed on the server`)
  }
  if (plan.partitions !== null && !topic.shared && plan.partitions !== topic.main.length) {
    throw fault('CONFLICT', `embedded broker: ${named(plan)} has ${topic.main.length} partitions on the server, not ${plan.partitions}`)
  }
  if (capabilities.delay === 'none' && plan.delays.length > 0 && topic.lanes.length > 0 && topic.lanes.length !== plan.delays.length) {
    throw fault(
      'CONFLICT',
      `embedded broker: ${named(plan)} has ${topic.lanes.length} delay lanes on the server, not ${plan.delays.length}`,
    )
  }
  if (plan.create) return
  const missing = plan.groups.find(({ name }) => !topic.groups.has(name))
  if (missing !== undefined) throw fault('NOT_FOUND', `embedded broker: ${named(plan)} has no group "${missing.name}"`)
}

function make(hub: Hub, plan: TopicPlan): TopicState {
  const { settings } = hub
  let topic = hub.topics.get(plan.name)
  if (topic === undefined) {
    const shared = settings.sharedQueue && !plan.keyed
    const partitions = shared ? 1 : (plan.partitions ?? (plan.keyed ? settings.keyedPartitions : settings.unkeyedPartitions))
    topic = new Topic(plan.name, plan.keyed, partitions, plan.retentionMs, settings)
    hub.topics.set(plan.name, topic)
  }
  const created: string[] = []
  if (plan.create) {
    topic.makeLanes(plan.delays.length)
    for (const { name, start } of plan.groups) {
      if (topic.groups.has(name)) continue
      topic.makeGroup(name, start)
      created.push(name)
    }
  }
  return { name: topic.name, partitions: topic.main.length, groups: [...topic.groups.keys()], created }
}

/** Makes or looks at what the plans name: all of them or, if one is refused, none. */
export function declare(hub: Hub, topology: Topology): readonly TopicState[] {
  for (const plan of topology.topics) examine(hub, plan)
  return topology.topics.map((plan) => make(hub, plan))
}
