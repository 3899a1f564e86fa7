// Logs that are not what they were, played: which of two answers comes first no real server says on demand.

import { expect, it } from 'vitest'
import type { Cluster } from '../src/cluster.ts'
import type { Place } from '../src/progress.ts'
import { createRecovery, type Reading } from '../src/recovery.ts'

interface One extends Reading {
  position: number
  ended: boolean
}

/** A partition at a position, a log that begins at `oldest`, and what is done about it. */
function played(
  position: number,
  oldest: number,
  over: { readonly there?: () => boolean; readonly group?: Place; readonly id?: () => string } = {},
) {
  const done: string[] = []
  const waiting: (() => void)[] = []
  let slow = false
  let holder: object | null = {}
  let looked = 0
  const connection = {
    async request() {
      if (slow) await new Promise<void>((resolve) => waiting.push(resolve))
      return { responses: [{ topic: 't', partitions: [{ partition: 0, errorCode: 0, offset: String(oldest) }] }] }
    },
  }
  const meta = {
    leaders: [1],
    replicas: 1,
    get id() {
      return over.id?.() ?? 'a'
    },
  }
  const cluster = {
    closed: false,
    known: () => meta,
    look: async () => ((over.there?.() ?? true) ? meta : null),
    connection: async () => connection,
    pause: async (ms: number) => void done.push(`waited ${ms}`),
  } as unknown as Cluster
  const one: One = {
    source: 't',
    topicId: 'a',
    partition: 0,
    position,
    ended: false,
    moveTo(to) {
      done.push(`moved to ${to}`)
      one.position = to
    },
  }
  const recovery = createRecovery<One>({
    cluster,
    event() {},
    async declareAgain() {
      done.push('made again')
      return true
    },
    holder: () => holder,
    owns: () => false,
    async placeOf() {
      looked++
      return over.group
    },
    async giveUp(given) {
      given.ended = true
      done.push('given up')
    },
    start: (_at, _topicId, _partition, place, write) =>
      void done.push(`began at ${place.offset} "${place.metadata}"${write ? ', written' : ''}`),
  })
  return {
    one,
    recovery,
    done,
    slow: () => {
      slow = true
    },
    answer: () => waiting.shift()?.(),
    handOver: () => {
      holder = null
    },
    waiting,
    looked: () => looked,
  }
}

it('a log whose head was cut off is read on from its oldest message, with all that is known of it', async () => {
  const { one, recovery, done } = played(5, 100)
  await recovery.outOfRange(one)
  expect(done).toEqual(['moved to 100'])
})

it('a log that was made again is begun anew: neither the old position nor old marks reach the server or hide a message', async () => {
  const { one, recovery, done } = played(1000, 0, { group: { offset: 1000, metadata: 'ph1:AA' } })
  await recovery.outOfRange(one)
  expect(done).toEqual(['given up', 'began at 0 "", written'])
})

it('two answers "out of range" are one way back: the second does not hand out everything again', async () => {
  const { one, recovery, done, slow, answer, waiting } = played(5, 100)
  slow()
  const both = [recovery.outOfRange(one), recovery.outOfRange(one)]
  await expect.poll(() => waiting.length).toBe(2)
  answer()
  await both[0]
  one.position = 150
  answer()
  await both[1]
  expect(done).toEqual(['moved to 100'])
})

it('a topic that is gone is given up before it is made again, and the position of the group decides where it goes on', async () => {
  let looks = 0
  const { one, recovery, done } = played(1000, 0, { there: () => ++looks > 2, group: { offset: 990, metadata: 'ph1:AA' } })
  await recovery.gone(one)
  expect(done).toEqual(['waited 250', 'given up', 'made again', 'began at 990 "ph1:AA"'])
})

it('a topic with another id than before is another log, however long it is: it is begun at its oldest message', async () => {
  const { one, recovery, done } = played(5, 0, { id: () => 'b', group: { offset: 5, metadata: 'ph1:AA' } })
  await recovery.gone(one)
  expect(done).toEqual(['given up', 'began at 0 "", written'])
})

it('a node that has not heard of a topic yet says that it is gone, and nothing is given up', async () => {
  const { one, recovery, done } = played(5, 0)
  await recovery.gone(one)
  expect(done).toEqual([])
})

it('nothing is begun in the middle of a hand-over', async () => {
  const { recovery, done, handOver } = played(5, 0)
  const work = recovery.again('t', 0)
  handOver()
  await work
  expect(done).toEqual([])
})

it('a partition whose outputs are refused for good is begun again later and later, and at once after it went well', async () => {
  const { recovery, done } = played(5, 0)
  for (let times = 0; times < 8; times++) await recovery.again('t', 0)
  recovery.goesWell('t', 0)
  await recovery.again('t', 0)
  const began = 'began at 0 ""'
  const waits = [200, 400, 800, 1600, 3200, 5000, 5000].flatMap((ms) => [`waited ${ms}`, began])
  expect(done).toEqual([began, ...waits, began])
})

it('a partition that was given away while its next beginning waited is left alone: whoever has it would be fenced', async () => {
  const { recovery, done, handOver, looked } = played(5, 0)
  await recovery.again('t', 0)
  expect(looked()).toBe(1)
  const work = recovery.again('t', 0)
  handOver()
  await work
  expect([done.at(-1), looked()]).toEqual(['waited 200', 1])
})
