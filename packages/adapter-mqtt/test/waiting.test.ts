import { type VirtualClock, virtualClock } from '@posthorn/core/testing'
import type { IPublishPacket } from 'mqtt'
import { expect, it } from 'vitest'
import { createWaitingList, type WaitingList } from '../src/waiting.ts'

const packet = (name: string, due: number, bytes = 10): IPublishPacket =>
  ({ topic: `posthorn/retry/email/orders/${name}/${due}/-`, payload: Buffer.alloc(1), length: bytes }) as unknown as IPublishPacket
const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Takes, with what is around it, all the memory that there is for those that wait. */
const large = 16 * 1024 * 1024 - 64

function full(clock: VirtualClock, count: number, fetch: (topic: string) => Promise<unknown>): { list: WaitingList; readies: number } {
  const state = { list: null as unknown as WaitingList, readies: 0 }
  state.list = createWaitingList(clock, () => void state.readies++, fetch)
  state.list.put(packet('first', clock.now() - 1, large))
  for (let at = 0; at < count; at++) state.list.put(packet(`m${at}`, clock.now() + at))
  return state
}

it('nobody spins while a retry is due and as many are out as may be', () => {
  const clock = virtualClock()
  let readies = 0
  const list = createWaitingList(
    clock,
    () => {
      readies++
      list.take(0)
    },
    async () => {},
  )
  list.put(packet('a', clock.now() - 1))
  for (let steps = 0; steps < 100 && clock.step(); steps++);
  expect(readies).toBe(1)
  expect(list.take(1)).toHaveLength(1)
})

it('of many that are due and not in memory a bounded number is fetched at once, and all of them are', async () => {
  const clock = virtualClock()
  const asked: string[] = []
  const state = full(clock, 200, async (topic) => {
    asked.push(topic)
  })
  clock.timer(1000, () => {})
  while (clock.step());
  const taken = [...state.list.take(1000)]
  expect(asked).toHaveLength(64)
  for (let at = 0; at < asked.length; at++) {
    const topic = asked[at] ?? ''
    state.list.put({ topic, payload: Buffer.alloc(1), length: 10 } as unknown as IPublishPacket)
    taken.push(...state.list.take(1000))
  }
  expect(asked).toHaveLength(200)
  expect(new Set(taken.map(({ topic }) => topic)).size).toBe(201)
  state.list.stop()
})

it('what could not be fetched is fetched again, and not at once', async () => {
  const clock = virtualClock()
  let asked = 0
  const state = full(clock, 1, async () => {
    asked++
    throw new Error('the connection is busy')
  })
  clock.timer(10, () => {})
  while (clock.step());
  state.list.take(10)
  await settled()
  state.list.take(10)
  expect(asked).toBe(1)
  const before = clock.monotonic()
  const { readies } = state
  while (state.readies === readies) clock.step()
  expect(clock.monotonic() - before).toBeGreaterThanOrEqual(1000)
  state.list.take(10)
  expect(asked).toBe(2)
  state.list.stop()
  await settled()
  expect(clock.pending()).toBe(0)
})
