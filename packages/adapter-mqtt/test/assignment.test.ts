import type { Delivery, SettleResult } from '@posthorn/core/adapter'
import { expect, it } from 'vitest'
import { Owned } from '../src/assignment.ts'

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

it('hands out no more than two windows that no settlement has answered for', async () => {
  const answers: ((result: SettleResult) => void)[] = []
  const owned = new Owned('orders', 'main', 0, {
    maxBuffered: 4,
    maxBytes: 1_000_000,
    soon: setImmediate,
    aliveUntil: () => Number.POSITIVE_INFINITY,
    room() {},
    settle: () => new Promise((resolve) => void answers.push(resolve)),
    release: async () => {},
    over() {},
  })
  for (let at = 0; at < 20; at++) owned.push({ bytes: 1, deliver: () => ({ token: at }) as unknown as Delivery })
  // Core settles each as soon as it has it, and asks for more.
  const taken: unknown[] = []
  for (let nth = 0; nth < 2; nth++) {
    const some = (await owned.read(4)).map(({ token }) => token)
    taken.push(...some)
    void owned.settle(some)
  }
  expect(taken).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
  let more: readonly Delivery[] | null = null
  const reading = owned.read(4).then((some) => {
    more = some
  })
  await turn()
  expect(more).toBeNull()
  answers[0]?.('settled')
  await reading
  expect(more).toHaveLength(4)
  owned.end()
  expect(await owned.read(4)).toEqual([])
})
