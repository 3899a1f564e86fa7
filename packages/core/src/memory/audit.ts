// The eyes and hands of a test at the server: an independent client that sees everything, and an administrator.

import type { Place } from '../contract.ts'
import type { Cursor } from './cursor.ts'
import { fault } from './explain.ts'
import type { MemoryServer, Removal } from './faults.ts'
import type { Group } from './group.ts'
import { stored } from './log.ts'
import type { Hub } from './store.ts'
import { topicOf } from './store.ts'
import type { DeclaredGroup } from './topic.ts'

/** The part of `MemoryServer` that looks, and takes away. */
export type Auditor = Pick<
  MemoryServer,
  'read' | 'unsettled' | 'remaining' | 'position' | 'owners' | 'members' | 'settles' | 'remove' | 'trim' | 'wipe'
>

/** Makes the auditor of a server. Names that do not exist are NOT_FOUND. */
export function auditor(hub: Hub): Auditor {
  function groupOf(topic: string, group: string): DeclaredGroup {
    const declared = topicOf(hub, topic).groups.get(group)
    if (declared === undefined) throw fault('NOT_FOUND', `embedded broker: topic "${topic}" has no group "${group}"`)
    return declared
  }

  const sum = (group: Group, of: (cursor: Cursor) => number): number => group.cursors.reduce((total, cursor) => total + of(cursor), 0)

  function endMembers(group: Group): void {
    for (const member of [...group.members]) group.end(member, null)
  }

  return {
    read(place: Place) {
      const logs = topicOf(hub, place.topic).logs(place)
      const kept = logs.flatMap((log) => {
        const list: ReturnType<typeof stored>[] = []
        log.scan(log.start, (entry) => list.push(stored(log, entry, null)))
        return list
      })
      // A message that the server delays is on its way to its partition, whatever place that is in.
      const waiting = hub.heap.of((item) => logs.includes(item.log)).map((item) => stored(item.log, item.entry, item.due))
      return [...kept, ...waiting]
    },
    unsettled: (topic, group) => sum(groupOf(topic, group).group, (cursor) => cursor.held),
    remaining: (topic, group) => {
      const declared = groupOf(topic, group)
      const delayed = hub.heap.of((item) => declared.retry.includes(item.log)).length
      return sum(declared.group, (cursor) => cursor.remaining) + delayed
    },
    position: (topic, group) => groupOf(topic, group).main.map((cursor) => cursor.low),
    owners(topic, group) {
      const owners = new Map<number, string>()
      for (const { role, partition, owner } of groupOf(topic, group).group.slots) {
        if (role === 'main' && owner !== null) owners.set(partition, owner.member.instance)
      }
      return owners
    },
    members: (topic, group) => groupOf(topic, group).group.members.map((member) => member.instance),
    settles(topic, group) {
      const { group: state } = groupOf(topic, group)
      return {
        settled: sum(state, (cursor) => cursor.settledCount),
        stale: state.stale,
        handedOut: sum(state, (cursor) => cursor.handedOut),
        repeated: sum(state, (cursor) => cursor.repeated),
      }
    },
    remove(what: Removal) {
      const topic = topicOf(hub, what.topic)
      if ('group' in what) {
        const { group, retry } = groupOf(what.topic, what.group)
        topic.groups.delete(what.group)
        hub.heap.remove((item) => retry.includes(item.log))
        endMembers(group)
        for (const cursor of group.cursors) cursor.close()
      } else if ('partition' in what) {
        const log = topic.main[what.partition]
        if (log === undefined) throw fault('NOT_FOUND', `embedded broker: topic "${what.topic}" has no partition ${what.partition}`)
        topic.cut(log, log.end)
      } else {
        hub.topics.delete(topic.name)
        topic.removed = true
        hub.heap.remove((item) => item.topic === topic)
        for (const group of topic.allGroups()) endMembers(group)
      }
    },
    trim(topic, partition, before) {
      const state = topicOf(hub, topic)
      const log = state.main[partition]
      if (log === undefined) throw fault('NOT_FOUND', `embedded broker: topic "${topic}" has no partition ${partition}`)
      state.cut(log, before ?? log.end)
    },
    wipe() {
      const topics = [...hub.topics.values()]
      hub.topics.clear()
      hub.heap.remove(() => true)
      for (const topic of topics) {
        topic.removed = true
        for (const group of topic.allGroups()) endMembers(group)
      }
    },
  }
}
