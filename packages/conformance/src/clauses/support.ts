// What several clause groups share.

import type { Broker, DeadLetter, Topic } from '@posthorn/core'
import type { Calls, Trial } from '../trial.ts'

/** All dead letters of a group, oldest first. */
export async function deadLettersOf(broker: Broker, topic: Topic, group = 'workers'): Promise<readonly DeadLetter[]> {
  const all: DeadLetter[] = []
  for await (const letter of broker.deadLetters(topic, group).list()) all.push(letter)
  return all
}

/** Their ids. */
export async function deadIds(broker: Broker, topic: Topic, group = 'workers'): Promise<readonly string[]> {
  return (await deadLettersOf(broker, topic, group)).map((letter) => letter.id)
}

/** `t.until` within takeover time. */
export function waitFor(t: Trial, condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  return t.until(what, condition, t.takeoverMs + 10_000)
}

/** A handler that always fails. */
export function failing(): never {
  throw new Error('on purpose')
}

/**
 * What a group's members were given and have not settled, as the server counts it. A log gives nothing out, so there is nothing it
 * could count: there it is what the adapter gave to core.
 */
export async function heldOf(t: Trial, topic: string, { handedOut, settled }: Pick<Calls, 'handedOut' | 'settled'>): Promise<number> {
  return t.capabilities.retention === 'log' && t.server.simulation === undefined
    ? handedOut - settled
    : t.auditor.unsettled(topic, 'workers')
}

/** What was given and settled since then. */
export const since = (now: Calls, then: Calls): Pick<Calls, 'handedOut' | 'settled'> => ({
  handedOut: now.handedOut - then.handedOut,
  settled: now.settled - then.settled,
})
