import type { AdapterContext } from '@posthorn/core/adapter'
import { expect, it } from 'vitest'
import type { Cluster } from '../src/cluster.ts'
import { trimLanes } from '../src/trim.ts'

it('a subscription that ends while its lanes are cut off leaves no timer behind', async () => {
  const timers = new Set<() => void>()
  let answer = (): void => {}
  const clock = {
    timer(_ms: number, run: () => void) {
      timers.add(run)
      return () => timers.delete(run)
    },
  }
  const cluster = {
    context: { clock, random: () => 0 } as unknown as AdapterContext,
    known: () => ({ leaders: [1], replicas: 1 }),
    coordinator: () =>
      new Promise((_, reject) => {
        answer = () => reject(new Error('closed'))
      }),
    closed: true,
  } as unknown as Cluster
  const stop = trimLanes(cluster, 'g', () => new Map([['lane', [0]]]))
  const [run] = timers
  timers.clear()
  run?.()
  stop()
  answer()
  await new Promise((resolve) => setImmediate(resolve))
  expect(timers.size).toBe(0)
})
