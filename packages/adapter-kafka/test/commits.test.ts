// Positions on their way to a server that is played: its refusals of one partition and its lost answers come on demand.

import type { AdapterContext } from '@posthorn/core/adapter'
import { expect, it } from 'vitest'
import type { Cluster } from '../src/cluster.ts'
import { createCommits, type Settling } from '../src/commits.ts'
import type { Place } from '../src/progress.ts'

interface Written {
  readonly topics: readonly {
    readonly topic: string
    readonly partitions: readonly { readonly partition: number; readonly offset: string; readonly metadata: string }[]
  }[]
}

/** `answer` says the code for a partition, or nothing for an answer that is lost; `before` may hold up or end a request. */
function played(answer: (partition: number, metadata: string) => number | undefined, before = async (): Promise<void> => {}) {
  const written: string[] = []
  const told: string[] = []
  const connection = {
    async request(_api: string, { topics }: Written) {
      await before()
      const responses = topics.map(({ topic, partitions }) => ({
        topic,
        partitions: partitions.map(({ partition, offset, metadata }) => {
          written.push(`${partition}:${offset}${metadata}`)
          const errorCode = answer(partition, metadata)
          if (errorCode === undefined) throw new Error('the link is cut')
          return { partition, errorCode }
        }),
      }))
      return { responses }
    },
  }
  const clock = {
    monotonic: () => performance.now(),
    timer(ms: number, run: () => void) {
      const timer = setTimeout(run, ms)
      return () => clearTimeout(timer)
    },
  }
  const cluster = {
    context: { clock } as unknown as AdapterContext,
    coordinator: async () => connection,
    forgetCoordinator() {},
    pause: () => new Promise((resolve) => setTimeout(resolve, 1)),
  } as unknown as Cluster
  const commits = createCommits(
    cluster,
    'test',
    () => ({ groupId: 'g', generation: 1, memberId: 'm' }),
    () => Number.POSITIVE_INFINITY,
    () => void told.push('expelled'),
    (code) => void told.push(`refused ${code}`),
  )
  return { commits, written, told }
}
function at(partition: number, place: () => Place): Settling {
  let marks = true
  return {
    source: 't',
    partition,
    place: () => (marks ? place() : { offset: place().offset, metadata: '' }),
    leaveOutMarks() {
      const had = marks
      marks = false
      return had
    },
  }
}

it('what is forgotten is never written again, not even after an answer was lost', async () => {
  let lost = true
  const { commits, written } = played((partition) => (partition === 0 && lost ? undefined : 0))
  const one = at(0, () => ({ offset: 1000, metadata: '' }))
  const other = at(1, () => ({ offset: 7, metadata: '' }))
  expect(await commits.settle(one)).toBe('unknown')
  commits.forget(one)
  lost = false
  expect(await commits.settle(one)).toBe('unknown')
  commits.note(one)
  expect(await commits.settle(other)).toBe('settled')
  expect(written).toEqual(['0:1000', '1:7'])
})

it('what is settled while the answer to another one is being lost is told by the next', async () => {
  let lose = (): void => {}
  const losing = new Promise<void>((resolve) => {
    lose = resolve
  })
  let tries = 0
  const { commits } = played(
    () => 0,
    async () => {
      if (++tries > 1) return
      await losing
      throw new Error('the link is cut')
    },
  )
  const one = at(0, () => ({ offset: 5, metadata: '' }))
  const [first, beside] = [commits.settle(one), commits.settle(one)]
  await Promise.resolve()
  const meanwhile = commits.settle(at(1, () => ({ offset: 7, metadata: '' })))
  lose()
  expect(await Promise.all([first, beside, meanwhile])).toEqual(['unknown', 'settled', 'settled'])
})

it('whoever waits for a position that is forgotten hears that it is not known', async () => {
  const { commits, written } = played(() => 0)
  const one = at(0, () => ({ offset: 1000, metadata: '' }))
  await commits.hold(one)
  const waits = commits.settle(one)
  commits.forget(one)
  commits.free(one)
  expect(await waits).toBe('unknown')
  await commits.flush()
  expect(written).toEqual([])
})

it('after a transaction whose end is not known no plain commit moves the position back, whatever was settled beside it', async () => {
  const { commits, written } = played(() => 0)
  const one = at(0, () => ({ offset: 3, metadata: '' }))
  await commits.hold(one)
  commits.note(one)
  const beside = commits.settle(one)
  // What a failed transaction does.
  commits.forget(one)
  commits.free(one)
  expect(await beside).toBe('unknown')
  expect(await commits.settle(one)).toBe('unknown')
  await commits.flush()
  expect(written).toEqual([])
})

it('a partition whose position the server does not take makes no other one unknown', async () => {
  let there = false
  const { commits, written } = played((partition) => (partition === 0 && !there ? 3 : 0))
  const [one, other] = [at(0, () => ({ offset: 5, metadata: '' })), at(1, () => ({ offset: 7, metadata: '' }))]
  await commits.hold(one)
  await commits.hold(other)
  const both = [commits.settle(one), commits.settle(other)]
  commits.free(one)
  commits.free(other)
  expect(await Promise.all(both)).toEqual(['unknown', 'settled'])
  there = true
  await commits.flush()
  expect(written.filter((each) => each === '1:7').length).toBe(1)
  expect(written.at(-1)).toBe('0:5')
})

it('a server that allows less beside a position gets the position alone', async () => {
  const { commits, written } = played((_, metadata) => (metadata === '' ? 0 : 12))
  const one = at(0, () => ({ offset: 5, metadata: ' marks' }))
  expect(await commits.settle(one)).toBe('settled')
  expect(written).toEqual(['0:5 marks', '0:5'])
})

it('a membership that is over is not told again that it is', async () => {
  const { commits, told } = played(() => 22)
  const waits = commits.settle(at(0, () => ({ offset: 5, metadata: '' })))
  await Promise.resolve()
  commits.stop()
  expect(await waits).not.toBe('settled')
  await new Promise((resolve) => setTimeout(resolve, 20))
  expect(told).toEqual([])
})
