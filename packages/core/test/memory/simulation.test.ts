// Random schedules of members, faults and settlements against the contract itself: nothing stored is lost, no partition has
// two live owners, an assignment reads forward only, and everything is owned and settled once the faults are over.

import { expect, test } from 'vitest'
import type { Assignment, Received } from '../../src/contract.ts'
import type { MemoryProfile } from '../../src/memory/index.ts'
import type { Client, World } from './driver.ts'
import { consume, main, never, outgoing, plan, source, world } from './driver.ts'

const partitions = 3
const seeds = Number(process.env.SEEDS ?? 60)
const profiles: readonly MemoryProfile[] = ['default', 'kafka', 'rabbitmq', 'redis', 'mqtt']

function generator(seed: number): () => number {
  let state = seed * 2_654_435_761 + 1
  return () => {
    state = (state ^ (state << 13)) >>> 0
    state = (state ^ (state >>> 17)) >>> 0
    state = (state ^ (state << 5)) >>> 0
    return state / 4_294_967_296
  }
}

interface Run {
  readonly w: World
  readonly random: () => number
  readonly problems: string[]
  readonly handled: Set<string>
  readonly live: Map<number, { readonly assignment: Assignment; readonly client: Client }>
}

const wait = (run: Run, ms: number): Promise<void> => new Promise((resolve) => void run.w.clock.timer(ms, resolve))

async function work(run: Run, client: Client, assignment: Assignment): Promise<void> {
  const { w, random, problems, handled } = run
  const frozen = (): boolean => w.server.link(client.instance).frozen
  const alive = (): boolean => !assignment.lost.aborted && w.clock.monotonic() < assignment.aliveUntil
  let last = -1
  let settled = -1
  for (;;) {
    const got = await assignment.read(1 + Math.floor(random() * 8))
    if (got.length === 0) break
    for (const delivery of got) {
      const at = Number(
        Buffer.from((delivery.content as Received).body!)
          .toString()
          .split('#')[1],
      )
      if (at <= last && settled >= 0) problems.push(`${w.clock.monotonic()}: ${at} after ${last} within one assignment`)
      last = Math.max(last, at)
    }
    await wait(run, random() * 200)
    while (frozen()) await wait(run, 100)
    // What came while it slept belongs to somebody else now: a member that obeys starts nothing.
    if (!alive()) break
    for (const delivery of got) handled.add(Buffer.from((delivery.content as Received).body!).toString())
    const result = await assignment.settle(got.map((delivery) => delivery.token))
    settled = result === 'unknown' ? -1 : last
  }
  await wait(run, random() * 500)
  while (frozen()) await wait(run, 100)
  await assignment.release()
}

async function member(run: Run, client: Client): Promise<void> {
  const { w, live, problems } = run
  await consume(client, source('t', 'g', { maxUnsettled: 16, handOverMs: 2_000 }), (assignment) => {
    if (assignment.role === 'main') {
      const before = live.get(assignment.partition!)
      if (before !== undefined && !before.assignment.lost.aborted && w.clock.monotonic() < before.assignment.aliveUntil) {
        problems.push(`${w.clock.monotonic()}: partition ${assignment.partition} of ${before.client.instance} began at ${client.instance}`)
      }
      live.set(assignment.partition!, { assignment, client })
    }
    void work(run, client, assignment)
  })
}

function fault(run: Run, clients: readonly Client[]): void {
  const { w, random } = run
  const link = w.server.link(clients[Math.floor(random() * clients.length)]!.instance)
  const kind = Math.floor(random() * 10)
  if (kind === 0) link.cut()
  else if (kind === 1) link.silence('up')
  else if (kind === 2) link.silence('down')
  else if (kind === 3) link.silence('both')
  else if (kind === 4) link.freeze()
  else if (kind === 5) w.server.signal(random() < 0.5 ? 'SIGKILL' : 'SIGTERM')
  else if (kind === 6) w.server.signal('SIGSTOP')
  else if (kind === 7) link.withhold(['settle'])
  else if (kind === 8) link.delay(random() * 300, 50)
  else link.refuse(true)
}

function heal(run: Run, clients: readonly Client[]): void {
  run.w.server.start()
  run.w.server.signal('SIGCONT')
  for (const client of clients) {
    run.w.server.link(client.instance).heal()
    run.w.server.link(client.instance).thaw()
  }
}

async function simulate(seed: number): Promise<{ problems: readonly string[]; faults: number }> {
  const random = generator(seed)
  const profile = profiles[seed % profiles.length]!
  const w = world({ profile, leaseMs: 4_000, handOverMs: 3_000, ...(random() < 0.5 ? { random } : {}) })
  const run: Run = { w, random, problems: [], handled: new Set(), live: new Map() }
  const producer = await w.client('producer')
  await producer.session.declare({ topics: [plan('t', ['g'], { partitions })] }, never)
  const clients = [await w.client('a'), await w.client('b'), await w.client('c')]
  for (const client of clients) await member(run, client)

  const stored = new Set<string>()
  let next = 0
  let faults = 0
  for (let round = 0; round < 60; round++) {
    const given = new AbortController()
    const partition = Math.floor(random() * partitions)
    const texts = Array.from({ length: 1 + Math.floor(random() * 6) }, () => `p${partition}#${next++}`)
    const batch = texts.map((text) => outgoing(main('t'), text, { partition, body: Buffer.from(text) }))
    const report = producer.session.publish(batch, given.signal)
    w.clock.timer(3_000, () => given.abort())
    void report.then(({ failures }) => {
      const failed = new Set(failures.map(({ index }) => index))
      for (const [index, text] of texts.entries()) if (!failed.has(index)) stored.add(text)
    })
    if (random() < 0.2) {
      fault(run, [...clients, producer])
      faults++
    }
    await w.pass(random() * 800)
    if (random() < 0.3) heal(run, [...clients, producer])
  }
  heal(run, [...clients, producer])
  await w.pass(30_000)

  const { problems, handled } = run
  if (stored.size < 20) problems.push(`only ${stored.size} were stored`)
  for (const text of stored) if (!handled.has(text)) problems.push(`${text} was stored and never handled`)
  if (w.server.owners('t', 'g').size !== partitions) problems.push(`${w.server.owners('t', 'g').size} partitions are owned`)
  if (w.server.members('t', 'g').length !== clients.length) problems.push(`${w.server.members('t', 'g').length} members`)
  if (w.server.remaining('t', 'g') !== 0) problems.push(`${w.server.remaining('t', 'g')} remain`)
  if (w.server.stats().connections !== 4) problems.push(`${w.server.stats().connections} connections`)
  for (const client of clients) if (client.statuses.at(-1) === 'recovering') problems.push(`${client.instance} did not come back`)
  for (const client of [...clients, producer]) await client.session.close(never)
  return { problems, faults }
}

test('random faults lose nothing, give no partition to two, and heal', async () => {
  let faults = 0
  for (let seed = 1; seed <= seeds; seed++) {
    const result = await simulate(seed)
    faults += result.faults
    expect({ seed, problems: result.problems }).toEqual({ seed, problems: [] })
  }
  expect(faults).toBeGreaterThan(seeds)
}, 120_000)
