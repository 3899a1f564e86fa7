// Sends messages on every way that a message can take, and shows each attempt of each of them to the clause.

import type { Broker, DeadLetter, Decision, Message, SendOptions, Topic } from '@posthorn/core'
import { deadLetter, retry } from '@posthorn/core'
import type { Trial } from '../trial.ts'
import { lettersWhen } from './stored.ts'

/** `parked`: the handler asks for a retry beyond 30 s, which only a message without a key waits for in its group's retry place. */
export type Way = 'direct' | 'retry' | 'delay' | 'parked' | 'dead'
/** Beyond what a handler's slot may wait: the message goes to the group's retry place. */
const parkedMs = 31_000
export const keyedWays: readonly Way[] = ['direct', 'retry', 'delay', 'dead']
export const allWays: readonly Way[] = [...keyedWays, 'parked']

export interface Item<T> {
  readonly value: T
  readonly options?: Omit<SendOptions, 'id' | 'delayMs'>
}
export interface Travel<T> {
  readonly topic: Topic<T, T, string>
  readonly items: readonly Item<T>[]
  readonly ways: readonly Way[]
  /** Called for every attempt. `n` is the item's index. */
  readonly look: (message: Message<T>, way: Way, n: number) => void
  /** Called for the dead letters before they are replayed. */
  readonly letters?: (letter: DeadLetter, n: number) => void | Promise<void>
}

/** Resolves when every item has come through on every way; dead letters are replayed. */
export async function travel<T>(t: Trial, broker: Broker, plan: Travel<T>): Promise<void> {
  const { topic, items, ways } = plan
  const starts = new Map<string, number>()
  const done = new Set<string>()
  const problems: unknown[] = []
  await broker.declare(topic)
  const consumer = await broker.consume(topic, t.consumeOptions(), async (message): Promise<Decision | void> => {
    const [way, number] = message.id.split('.') as [Way, string]
    const nth = (starts.get(message.id) ?? 0) + 1
    starts.set(message.id, nth)
    try {
      plan.look(message as Message<T>, way, Number(number))
    } catch (error) {
      problems.push(error)
    }
    if (nth === 1 && way === 'retry') throw new Error('fails once')
    if (nth === 1 && way === 'parked') return retry({ afterMs: parkedMs })
    if (nth === 1 && way === 'dead') return deadLetter('on purpose')
    done.add(message.id)
  })
  // Large bodies in real time: how long they take is no part of it.
  const producer = broker.producer(topic, { timeoutMs: t.virtual ? 5000 : 30_000 })
  const sent = ways.flatMap((way) =>
    items.map(({ value, options }, n) => ({
      id: `${way}.${n}`,
      value,
      options: { ...options, ...(way === 'delay' ? { delayMs: 500 } : {}) },
    })),
  )
  await Promise.all(sent.map(({ id, value, options }) => producer.send(value, { ...options, id })))
  if (ways.includes('dead')) {
    const letters = await lettersWhen(t, broker, topic, items.length)
    const ids = letters.map(({ id }) => id).sort()
    t.equal(ids, items.map((_, n) => `dead.${n}`).sort(), 'ids of the dead letters')
    for (const letter of letters) await plan.letters?.(letter, Number(letter.id.split('.')[1]))
    const { replayed } = await broker.deadLetters(topic, 'workers').replay({ all: true })
    t.equal(replayed, items.length, 'dead letters replayed')
  }
  await t.until('everything has come through on every way', () => done.size >= sent.length || problems.length > 0, {
    withinMs: 60_000,
    seen: () => ({
      done: done.size,
      of: sent.length,
      missing: sent
        .map(({ id }) => id)
        .filter((id) => !done.has(id))
        .slice(0, 10),
    }),
  })
  // A failed check inside a handler would be retried like any error; here it ends the clause.
  if (problems.length > 0) throw problems[0]
  await t.settled(topic, 'workers', 10_000)
  for (const { id } of sent) {
    const way = id.split('.')[0] as Way
    t.equal(starts.get(id), way === 'direct' || way === 'delay' ? 1 : 2, `starts of ${id}`)
  }
  await consumer.close()
}
