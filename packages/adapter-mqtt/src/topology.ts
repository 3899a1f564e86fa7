// Making and looking at topics and groups. A group is a session for each partition, made before its record is written: whoever sees
// the record knows that they are all there.

import { check, type TopicPlan, type TopicState } from '@posthorn/core/adapter'
import type { IPublishPacket } from 'mqtt'
import type { Core } from './core.ts'
import { explain, fault, refusal } from './explain.ts'
import { groupRecord, memberIn, root, sessionId, topicRecord } from './layout.ts'
import { checkNative } from './options.ts'
import { checkSession, filtersOf } from './partition.ts'
import { presenceLife, presenceOf, saidAt } from './presence.ts'
import { forever, openWire } from './wire.ts'

const defaultPartitions = 4
/** Sessions that are made at once. */
const atOnce = 8
const mostTries = 40

/** Makes or looks at one topic. */
export async function declareTopic(core: Core, plan: TopicPlan, signal: AbortSignal): Promise<TopicState> {
  const { name } = plan
  checkNative(`cannot declare "${name}"`, plan.native)
  if (name === root || name.startsWith(`${root}.`))
    throw check.invalid(`cannot declare "${name}"`, `names that begin with "${root}" are the adapter's own on MQTT. choose another one`)
  const known = await core.records.look(name)
  let { partitions } = known
  if (partitions === null) {
    if (!plan.create) throw fault('NOT_FOUND', `mqtt: there is no topic "${name}"`, 'failed')
    partitions = await makeTopic(core, plan, signal)
  }
  if (plan.partitions !== null && partitions !== plan.partitions)
    throw fault(
      'CONFLICT',
      `mqtt: topic "${name}" has ${partitions} partitions, not ${plan.partitions}: keys would go elsewhere. say ${partitions}, or change it with posthorn apply --repartition`,
      'failed',
    )
  const created: string[] = []
  for (const { name: group } of plan.groups) {
    const there = known.groups.has(group)
    if (!plan.create) {
      if (!there) throw fault('NOT_FOUND', `mqtt: topic "${name}" has no group "${group}"`, 'failed')
      continue
    }
    await completeGroup(core, name, group, partitions, signal)
    if (there) continue
    await write(core, groupRecord(name, group), { partitions })
    created.push(group)
  }
  return { name, partitions, groups: [...new Set([...plan.groups.map((group) => group.name), ...known.groups.keys()])], created }
}

// Two that make it at once see, after a while, the same record: the one that was written last.
async function makeTopic(core: Core, plan: TopicPlan, signal: AbortSignal): Promise<number> {
  const wanted = plan.partitions ?? defaultPartitions
  await write(core, topicRecord(plan.name), { partitions: wanted })
  await pause(core, core.settings.viewMs, signal)
  const partitions = core.records.known(plan.name)?.partitions ?? null
  if (partitions === null)
    throw fault(
      'UNAVAILABLE',
      `mqtt: the record of topic "${plan.name}" did not come back. does the server keep retained messages?`,
      'failed',
    )
  return partitions
}

async function write(core: Core, topic: string, value: unknown): Promise<void> {
  const reason = await core.records.write(topic, value)
  if (reason >= 0x80) throw refusal(`cannot write the record "${topic}"`, reason)
}

function pause(core: Core, ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = (): void => {
      cancel()
      reject(fault('CANCELLED', 'mqtt: given up'))
    }
    const cancel = core.context.clock.timer(ms, () => {
      signal.removeEventListener('abort', abort)
      resolve()
    })
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
  })
}

// A session that a living member holds is never connected to: that would take it away from its owner. Where members live and hold
// not all yet, they are about to: they are waited for, and only then the rest is made.
async function completeGroup(core: Core, topic: string, group: string, partitions: number, signal: AbortSignal): Promise<void> {
  const { settings, context } = core
  const { clock, random } = context
  const until = clock.monotonic() + settings.viewMs * 4
  const made = new Set<number>()
  for (let tries = 0; tries < mostTries; tries++) {
    const members = await membersOf(core, topic, group, signal)
    const held = new Set([...members.values()].flat())
    const missing = Array.from({ length: partitions }, (_, at) => at).filter((at) => !held.has(String(at)) && !made.has(at))
    if (missing.length === 0) return
    if (members.size > 0 && clock.monotonic() < until) {
      await pause(core, settings.viewMs, signal)
      continue
    }
    for (let at = 0; at < missing.length; at += atOnce)
      await Promise.all(
        missing.slice(at, at + atOnce).map(async (partition) => {
          if (await makeSession(core, topic, group, partition, signal)) made.add(partition)
        }),
      )
    if (missing.some((partition) => !made.has(partition))) await pause(core, settings.viewMs * random(), signal)
  }
  throw fault('UNAVAILABLE', `mqtt: others connect to the sessions of group "${group}" of "${topic}" again and again`, 'failed')
}

async function membersOf(core: Core, topic: string, group: string, signal: AbortSignal): Promise<ReadonlyMap<string, readonly string[]>> {
  const found = new Map<string, readonly string[]>()
  for (const packet of await livingOf(core, topic, signal)) {
    const whose = memberIn(packet.topic)
    const presence = presenceOf(packet)
    if (whose.group === group && presence !== null) found.set(whose.member, presence.holds)
  }
  return found
}

// On version 3.1.1 no presence ends by itself: where the server lost the will, it would be believed for ever. One that looks old,
// whose clock may be another than ours, is believed when it is said anew within the time in which members do, and else taken away.
async function livingOf(core: Core, topic: string, signal: AbortSignal): Promise<readonly IPublishPacket[]> {
  const { settings, context, records } = core
  const seen = await records.members(topic)
  if (settings.version !== 4) return seen
  const old = new Map<string, string>()
  for (const packet of seen) {
    const age = Math.abs(context.clock.now() - (saidAt(packet) ?? Number.NEGATIVE_INFINITY))
    if (age > presenceLife(settings.keepAliveMs)) old.set(packet.topic, packet.payload.toString())
  }
  if (old.size === 0) return seen
  await pause(core, settings.keepAliveMs, signal)
  const again = await records.members(topic)
  const dead = new Set(again.filter((packet) => old.get(packet.topic) === packet.payload.toString()).map((packet) => packet.topic))
  await Promise.all([...dead].map((each) => records.write(each, null)))
  return again.filter((packet) => !dead.has(packet.topic))
}

/** False: cut off before it was there, by its owner or by somebody who makes it too. */
async function makeSession(core: Core, topic: string, group: string, partition: number, signal: AbortSignal): Promise<boolean> {
  const { settings, context } = core
  let cut = false
  try {
    const wire = await openWire(
      {
        settings,
        clock: context.clock,
        clientId: sessionId(topic, group, partition),
        clean: false,
        expirySeconds: forever,
        receiveMaximum: 1,
        acknowledge: 'later',
        onMessage: (_packet: IPublishPacket) => true,
        onEnd() {
          cut = true
        },
      },
      signal,
    )
    try {
      checkSession(wire)
      await wire.subscribe(filtersOf(topic, partition))
    } finally {
      await wire.close()
    }
  } catch (error) {
    if (cut && explain(error).retryable) return false
    throw error
  }
  return true
}

/** How many members a group has. */
export async function countMembers(core: Core, topic: string, group: string, signal: AbortSignal): Promise<number> {
  return (await membersOf(core, topic, group, signal)).size
}
