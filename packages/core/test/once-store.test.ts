import { connect, inMemoryOnce, type LogEntry, type OnceKey, topic } from '@posthorn/core'
import { virtualClock } from '@posthorn/core/testing'
import { describe, expect, it } from 'vitest'
import { createTelemetry } from '../src/telemetry-channels.ts'

const key = (parts: Partial<OnceKey> = {}): OnceKey => ({ group: 'g', topic: 't', source: 's', id: '1', ...parts })
const nothing = async (): Promise<void> => {}

function pass(clock: ReturnType<typeof virtualClock>, ms: number): void {
  clock.timer(ms, () => {})
  clock.step()
}

describe('a store in memory', () => {
  it('recognises a repeat inside its window and not after it', async () => {
    const clock = virtualClock()
    const store = inMemoryOnce({ windowMs: 1000 }, clock)
    expect(await store.once(key(), nothing)).toBe('done')
    pass(clock, 999)
    expect(await store.once(key(), nothing)).toBe('repeat')
    pass(clock, 2)
    expect(await store.once(key(), nothing)).toBe('done')
  })

  it('keeps apart what differs in any part, however the parts are chosen', async () => {
    const store = inMemoryOnce()
    const keys = [
      key(),
      key({ group: 'h' }),
      key({ topic: 'u' }),
      key({ source: 'x' }),
      key({ source: undefined }),
      key({ source: '' }),
      key({ id: '2' }),
      key({ source: 's\n1', id: '2' }),
      key({ source: 's', id: '1\n2' }),
      key({ source: '","', id: '"' }),
      key({ id: 'i'.repeat(65_536) }),
      key({ id: `${'i'.repeat(65_536)}j` }),
    ]
    for (const each of keys) expect(await store.once(each, nothing)).toBe('done')
    for (const each of keys) expect(await store.once(each, nothing)).toBe('repeat')
  })

  it('keeps no record of work that failed, and passes the failure on', async () => {
    const store = inMemoryOnce()
    await expect(store.once(key(), () => Promise.reject(new Error('no')))).rejects.toThrow('no')
    expect(await store.once(key(), nothing)).toBe('done')
  })

  it('lets the second of two at the same time wait for the first', async () => {
    const store = inMemoryOnce()
    let end: () => void = () => {}
    const working = new Promise<void>((resolve) => {
      end = resolve
    })
    let runs = 0
    const work = async (): Promise<void> => {
      runs++
      await working
    }
    const both = Promise.all([store.once(key(), work), store.once(key(), work)])
    end()
    expect(await both).toEqual(['done', 'repeat'])
    expect(runs).toBe(1)
  })

  it('forgets the oldest first when it is full', async () => {
    const store = inMemoryOnce({ max: 2 })
    for (const id of ['1', '2', '3']) await store.once(key({ id }), nothing)
    expect(await store.once(key({ id: '3' }), nothing)).toBe('repeat')
    expect(await store.once(key({ id: '1' }), nothing)).toBe('done')
  })
})

describe('a window that is shorter than a redelivery may take', () => {
  it('is warned of when the consumer starts, and a longer one is not', async () => {
    const said: LogEntry[] = []
    const broker = await connect('memory:', { log: (entry) => void said.push(entry) })
    const jobs = topic('jobs')
    await broker.consume(jobs, { group: 'short', once: inMemoryOnce({ windowMs: 5000 }) }, nothing)
    await broker.consume(jobs, { group: 'long', once: inMemoryOnce() }, nothing)
    await broker.close()
    const warnings = said.filter(({ event }) => event === 'once-window')
    expect(warnings.map(({ level, group }) => ({ level, group }))).toEqual([{ level: 'warn', group: 'short' }])
    expect(warnings[0]?.message).toContain('5000 ms')
  })
})

describe('telemetry about messages from elsewhere', () => {
  it('cuts ids and keys that are longer than ours can be', () => {
    const said: LogEntry[] = []
    const telemetry = createTelemetry({ adapter: 'memory', name: 'test', log: (entry) => void said.push(entry), clock: virtualClock() })
    telemetry.emit('invalid', { topic: 'jobs', id: 'i'.repeat(65_536), key: 'k'.repeat(65_536), reason: 'undecodable' })
    telemetry.emit('abandoned', { topic: 'jobs', ids: ['a', 'i'.repeat(65_536)], count: 2 })
    expect(said).toHaveLength(2)
    for (const { message } of said) expect(Buffer.byteLength(message)).toBeLessThan(4096)
  })
})
