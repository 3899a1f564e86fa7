import { server, start } from '@posthorn/example-order-notification/program'
import { afterAll, expect, it } from 'vitest'

const program = new URL('../src/task-queue.ts', import.meta.url)
const worker = new URL('../src/worker.ts', import.meta.url)
const args = ['--tasks', '120', '--workers', '6']

// One server for both tests that want one.
let started: ReturnType<typeof server> | undefined
const rabbitmq = (skip: (note: string) => never): ReturnType<typeof server> => (started ??= server('rabbitmq', skip))
afterAll(async () => (await started?.catch(() => undefined))?.stop(), 30_000)

function expectAllPacked(shown: string): void {
  expect(shown).toMatch(/all packed after \d+\.\d s; one packer alone needs \d+\.\d s/)
  expect(shown).toContain('packed twice: 0')
  const parcels = [...shown.matchAll(/packer \d +(\d+) parcels/g)].map(([, count]) => Number(count))
  expect(parcels).toHaveLength(6)
  expect(parcels.reduce((sum, count) => sum + count)).toBe(120)
}

it('packs every parcel once, on the embedded broker', { timeout: 60_000 }, async () => {
  const { code, shown } = await start(program, args, { POSTHORN_BROKER: 'memory:tasks' }).ended
  expectAllPacked(shown)
  // Nobody is idle while there is work.
  expect(shown).not.toMatch(/packer \d +0 parcels/)
  expect(code).toBe(0)
})

it('packs every parcel once, on RabbitMQ', { timeout: 120_000 }, async ({ skip }) => {
  const { code, shown } = await start(program, args, { POSTHORN_BROKER: (await rabbitmq(skip)).url }).ended
  expectAllPacked(shown)
  expect(shown).not.toMatch(/packer \d +0 parcels/)
  expect(code).toBe(0)
})

it('finishes what is in hand when it is told to stop, and says what is left', { timeout: 60_000 }, async () => {
  const running = start(program, ['--tasks', '2000'], { POSTHORN_BROKER: 'memory:tasks' })
  await running.until('the work has begun', (shown) => shown.includes('all are stored'))
  const { code, shown } = await running.end('SIGINT')
  expect(shown).toMatch(/stopped: \d+ of 2000 are packed; the rest waits on the broker/)
  expect(shown).toContain('packed twice: 0')
  expect(code).toBe(0)
})

it('refuses a server that has tasks of an earlier run, which it would count', { timeout: 60_000 }, async ({ skip }) => {
  const running = await server('redis', skip)
  try {
    const env = { POSTHORN_BROKER: running.url }
    expect((await start(program, ['--tasks', '7', '--workers', '0'], env).ended).code).toBe(0)
    const { code, shown } = await start(program, args, env).ended
    expect(shown).toContain('this redis server has 7 unfinished messages of an earlier run')
    expect(code).toBe(1)
  } finally {
    await running.stop()
  }
})

it('gives the tasks of a worker that dies to the others', { timeout: 120_000 }, async ({ skip }) => {
  const env = { POSTHORN_BROKER: (await rabbitmq(skip)).url }
  const workers = [start(worker, [], env), start(worker, [], env), start(worker, [], env)]
  const [first] = workers
  const packed = (shown: string): string[] => [...shown.matchAll(/^packer \d+: (\d+-\d+),/gm)].map(([, id]) => id ?? '')
  const all = (): string[] => workers.flatMap((each) => packed(each.shown()))
  try {
    await Promise.all(workers.map((each) => each.until('it waits for parcels', (shown) => shown.includes('waiting for parcels'))))
    expect((await start(program, ['--tasks', '150', '--workers', '0'], env).ended).code).toBe(0)
    await first?.until('it is in the middle', (shown) => packed(shown).length >= 10)
    await first?.end('SIGKILL')
    const others = workers.slice(1)
    await Promise.race(others.map((each) => each.until('all are packed', () => new Set(all()).size === 150)))
    for (const each of others) expect(await each.end()).toMatchObject({ code: 0, shown: expect.stringMatching(/packed \d+$/m) })
    // What the dead one had in hand may have been packed twice: that is at least once.
    expect(all().length - 150).toBeLessThanOrEqual(2)
  } finally {
    await Promise.all(workers.map((each) => each.end('SIGKILL')))
  }
})
