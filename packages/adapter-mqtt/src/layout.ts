// Names at the server: topics, client ids, retained records. Pure.

import { createHash } from 'node:crypto'
import type { Place } from '@posthorn/core/adapter'

/** Everything of ours that is no message of a topic lies under this. */
export const root = 'posthorn'

const path = (topic: string): string => topic.replaceAll('.', '/')

/** Where a partition's messages are published. */
export const partitionTopic = (topic: string, partition: number): string => `${path(topic)}/@${partition}`
/** Where other devices publish, who know nothing of partitions. */
export const plainTopic = (topic: string): string => path(topic)

/** The retained record of a topic: its number of partitions. */
export const topicRecord = (topic: string): string => `${root}/topic/${topic}`
/** The retained record of a group: it is there when all the group's sessions are. */
export const groupRecord = (topic: string, group: string): string => `${root}/group/${group}/${topic}`
/** All groups of a topic. */
export const groupRecords = (topic: string): string => `${root}/group/+/${topic}`
/** The group in the name of its record. */
export const groupIn = (record: string): string => record.split('/')[2] ?? ''

/** The retained presence of one member of a group at a topic. */
export const presenceTopic = (topic: string, group: string, member: string): string => `${root}/member/${group}/${topic}/${member}`
/** Members of a group at a topic; with null of all its groups. */
export const presences = (topic: string, group: string | null): string => `${root}/member/${group ?? '+'}/${topic}/+`
/** Group and member in the name of a presence. */
export function memberIn(presence: string): { readonly group: string; readonly member: string } {
  const [, , group = '', , member = ''] = presence.split('/')
  return { group, member }
}

/** Where a connection's own words come back to it. */
export const echoTopic = (id: string): string => `${root}/echo/${id}`

/** The folder of a place's retained messages. */
export const folder = ({ role, group, topic }: Place): string => `${root}/${role}/${group ?? '-'}/${topic}`

/** The topic that a retained message, or a filter of such ones, is about. */
export const topicIn = (name: string): string => name.split('/')[3] ?? ''

/** Does a subscription to this filter bring what is published there? */
export function matches(filter: string, name: string): boolean {
  const wanted = filter.split('/')
  const parts = name.split('/')
  for (const [at, part] of wanted.entries()) {
    if (part === '#') return true
    if (at >= parts.length || (part !== '+' && part !== parts[at])) return false
  }
  return wanted.length === parts.length
}

// Older servers take 23 characters, which no name fits; all that are known take these.
const longest = 120

/** The client id of a partition's session: whoever connects with it has its messages. */
export const sessionId = (topic: string, group: string, partition: number): string => named(`ph!${group}!${topic}!${partition}`)
/** The client id of whoever hands out a group's due retries. */
export const retryId = (topic: string, group: string): string => named(`ph!${group}!${topic}!retry`)
/** The client id of whoever moves a topic's due messages. No group has this name. */
export const moverId = (topic: string): string => named(`ph!-!${topic}!delay`)

function named(id: string): string {
  return id.length <= longest ? id : `ph!${createHash('sha256').update(id).digest('base64url')}`
}

/** A short name for what `text` stands for. */
export const digest = (text: string): string => createHash('sha256').update(text).digest('base64url').slice(0, 22)

/** Where one message waits: in the folder of its place, by what it is, when it is due and the partition that it goes to. */
export const waitingTopic = (place: Place, name: string, due: number, partition: number | null): string =>
  `${folder(place)}/${name}/${due}/${partition ?? '-'}`
/** What the name of a waiting message says. */
export function waitingIn(topic: string): { readonly due: number; readonly partition: number | null } {
  const parts = topic.split('/')
  const partition = parts.at(-1) ?? '-'
  return { due: Number(parts.at(-2) ?? 0) || 0, partition: /^\d+$/.test(partition) ? Number(partition) : null }
}
/** Where a dead letter lies: one of a slot, and another one that replaces it has another name. */
export const deadTopic = (place: Place, slot: string, stamp: string): string => `${folder(place)}/${slot}/${stamp}`
/** What the name of a dead letter says. */
export function deadIn(topic: string): { readonly slot: string; readonly stamp: string } {
  const parts = topic.split('/')
  return { slot: parts.at(-2) ?? '', stamp: parts.at(-1) ?? '' }
}
