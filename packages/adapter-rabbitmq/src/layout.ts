// Names at the server: exchanges and queues of a topic, of its groups, and of what is derived from them. Pure.

import type { Place } from '@posthorn/core/adapter'
import { naming } from '@posthorn/core/adapter'

/** Arguments of a queue or an exchange. */
export type Arguments = Readonly<Record<string, string | number | boolean>>

/**
 * Every queue of ours. The delivery limit is a number: older servers destroy messages at the first return with -1 or 0, newer ones
 * drop the twenty-first return without one. There is no length limit anywhere: a queue with one drops or refuses silently.
 */
export const quorum: Arguments = Object.freeze({ 'x-queue-type': 'quorum', 'x-delivery-limit': 1_000_000 })
/** A partition's queue: one consumer at a time. */
export const single: Arguments = Object.freeze({ ...quorum, 'x-single-active-consumer': true })

/** The fanout exchange of everything that was sent with a routing key that is no partition. Its name holds the number of partitions. */
export const foreignExchange = (exchange: string, partitions: number): string => `${exchange}__foreign__p${partitions}`
/** The number of partitions that a foreign exchange's name holds, or null. */
export function partitionsIn(foreign: string): number | null {
  const found = /__foreign__p(\d{1,5})$/.exec(foreign)?.[1]
  return found === undefined ? null : Number(found)
}

/** The queue of one partition of a group, or with null the queue that all members of the group share. */
export const groupQueue = (topic: string, group: string, partition: number | null): string =>
  partition === null ? naming.group(topic, group) : `${naming.group(topic, group)}:${partition}`
/** Always empty; every member consumes it, so that members can be counted. */
export const membersQueue = (topic: string, group: string): string => `${naming.group(topic, group)}__members`
/** Belongs to the connection of a member who owns one partition more than others. There are as many as do not divide evenly. */
export const extraQueue = (topic: string, group: string, turn: number): string => `${membersQueue(topic, group)}__${turn}`
/** Belongs to the connection of whoever owns the partition of this queue. */
export const ownerQueue = (queue: string): string => `${queue}__owner`
/** Held by whoever looks through a group's dead letters: one at a time. */
export const lockQueue = (place: Place): string => `${naming.place(place)}__lock`

/** The queue that a place is read from: what lies there has waited already, or waits in its reader's memory for less than a second or so. */
export const outQueue = (place: Place): string => naming.place(place)
/** A lane: a queue that lets each message go after its time, into the place's own queue. */
export function laneQueue(place: Place, stepMs: number): string {
  return `${naming.place(place)}__${stepMs % 1000 === 0 ? stepMs / 1000 : `${stepMs}ms`}`
}
/** A lane's arguments: it lets go at least once, and refuses what it cannot store. */
export function laneArguments(place: Place, stepMs: number): Arguments {
  return {
    ...quorum,
    'x-message-ttl': stepMs,
    'x-dead-letter-exchange': '',
    'x-dead-letter-routing-key': outQueue(place),
    'x-dead-letter-strategy': 'at-least-once',
    'x-overflow': 'reject-publish',
  }
}
