import { topic, unchecked } from '@posthorn/core'
import { connectWith } from '@posthorn/core/adapter'
import { drive, memory, memoryServer, virtualClock } from '@posthorn/core/testing'
import { describe, expect, it } from 'vitest'

const jobs = topic('batches.jobs', { schema: unchecked<number>(), groups: ['workers'], partitions: 1 })

/** When each batch started after the first, and how large it was. */
async function batches(
  options: { readonly max: number; readonly waitMs: number; readonly handlerMs: number },
  sends: readonly { readonly atMs: number; readonly count: number }[],
): Promise<readonly { readonly atMs: number; readonly size: number }[]> {
  const clock = virtualClock()
  const sleep = (ms: number): Promise<void> => new Promise((resolve) => void clock.timer(ms, resolve))
  const started: { readonly at: number; readonly size: number }[] = []
  await drive(
    clock,
    (async () => {
      const broker = await connectWith({ clock, random: () => 0.5 }, memory({ server: memoryServer({ clock }) }), { log: false })
      const { max, waitMs, handlerMs } = options
      await broker.consumeBatch(jobs, { group: 'workers', concurrency: 1, max, waitMs }, async (messages) => {
        started.push({ at: clock.monotonic(), size: messages.length })
        await sleep(handlerMs)
      })
      const begin = clock.monotonic()
      for (const { atMs, count } of sends) {
        await sleep(begin + atMs - clock.monotonic())
        await broker.producer(jobs).sendBatch(Array.from({ length: count }, (_, value) => ({ value })))
      }
      await sleep(30_000)
      await broker.close()
    })(),
    10_000,
  )
  const [first] = started
  return started.map(({ at, size }) => ({ atMs: at - (first?.at ?? 0), size }))
}

describe('batches', () => {
  it('go when full, or when their first message has waited', async () => {
    const times = await batches({ max: 4, waitMs: 50, handlerMs: 0 }, [
      { atMs: 0, count: 4 },
      { atMs: 1_000, count: 2 },
      { atMs: 1_020, count: 1 },
    ])
    expect(times).toEqual([
      { atMs: 0, size: 4 },
      { atMs: 1_050, size: 3 },
    ])
  })

  it('that waited long enough for a free slot go with it, and wait no second time', async () => {
    const times = await batches({ max: 4, waitMs: 400, handlerMs: 1_000 }, [
      { atMs: 0, count: 4 },
      { atMs: 100, count: 2 },
    ])
    expect(times).toEqual([
      { atMs: 0, size: 4 },
      { atMs: 1_000, size: 2 },
    ])
  })

  it('that are the rest of more than one batch wait no second time either', async () => {
    const times = await batches({ max: 4, waitMs: 400, handlerMs: 1_000 }, [
      { atMs: 0, count: 4 },
      { atMs: 100, count: 6 },
    ])
    expect(times).toEqual([
      { atMs: 0, size: 4 },
      { atMs: 1_000, size: 4 },
      { atMs: 2_000, size: 2 },
    ])
  })
})
