// What several clause groups share.

import type { Broker, DeadLetter, Topic } from '@posthorn/core'
import type { Trial } from '../trial.ts'

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
