import { expect, it } from 'vitest'
import { createAssignmentQueue } from '../src/assignment-queue.ts'
import type { Assignment } from '../src/contract.ts'

const named = (topic: string): Assignment => ({ topic }) as Assignment
const over = { value: undefined, done: true }

function opened(
  stopped: () => void = () => {},
): ReturnType<typeof createAssignmentQueue> & { next(): Promise<IteratorResult<Assignment>> } {
  const queue = createAssignmentQueue(stopped)
  const reader = queue.iterable[Symbol.asyncIterator]()
  return { ...queue, next: () => reader.next() }
}

it('yields each once and in order, whether the reader waits or not', async () => {
  const queue = opened()
  const [a, b, c] = [named('a'), named('b'), named('c')]
  const first = queue.next()
  queue.push(a)
  queue.push(b)
  queue.push(c)
  expect([await first, await queue.next(), await queue.next()].map(({ value }) => value)).toEqual([a, b, c])
})

it('takes one back only while core has not seen it', async () => {
  const queue = opened()
  const [a, b] = [named('a'), named('b')]
  queue.push(a)
  queue.push(b)
  expect((await queue.next()).value).toBe(a)
  expect([queue.has(a), queue.has(b)]).toEqual([false, true])
  expect([queue.withdraw(a), queue.withdraw(b)]).toEqual([false, true])
  queue.end()
  expect(await queue.next()).toEqual(over)
})

it('yields what was pushed before its end, then ends, again and again', async () => {
  const queue = opened()
  queue.push(named('a'))
  queue.end()
  expect((await queue.next()).value).toMatchObject({ topic: 'a' })
  expect(await queue.next()).toEqual(over)
  expect(await queue.next()).toEqual(over)
})

it('a waiting reader hears of the end, and of an error', async () => {
  const ending = opened()
  const last = ending.next()
  ending.end()
  expect(await last).toEqual(over)
  const failing = opened()
  const read = failing.next()
  failing.fail(new Error('the queue is gone'))
  await expect(read).rejects.toThrow('the queue is gone')
  expect(await failing.next()).toEqual(over)
})

it('an error comes after what was pushed before it, and once, also where the end is told behind it', async () => {
  const queue = opened()
  queue.push(named('a'))
  queue.fail(new Error('the queue is gone'))
  queue.end()
  expect((await queue.next()).value).toMatchObject({ topic: 'a' })
  await expect(queue.next()).rejects.toThrow('the queue is gone')
  expect(await queue.next()).toEqual(over)
})

it('says so when the reader stops by itself', async () => {
  let stopped = 0
  const queue = createAssignmentQueue(() => stopped++)
  queue.push(named('a'))
  for await (const each of queue.iterable) {
    expect(each.topic).toBe('a')
    break
  }
  expect(stopped).toBe(1)
})
