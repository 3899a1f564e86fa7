// One run: producers, members and a server in one process under virtual time, with the faults of the plan.

import { subscribe, unsubscribe } from 'node:diagnostics_channel'
import { type Broker, type Consumer, postpone, topic, unchecked } from '@posthorn/core'
import { type Adapter, connectWith } from '@posthorn/core/adapter'
import { drive, type MemoryLink, type MemoryServer, memory, memoryServer, type StoredMessage, virtualClock } from '@posthorn/core/testing'
import { partitionOfKey } from '../murmur2.ts'
import { type PeerClock, peerClock } from '../peer-clock.ts'
import { seeded, seedFor } from '../random.ts'
import { type Checker, createChecker, type MemberId } from './checker.ts'
import { faultsForMs, type PlannedFault, planRun, type RunPlan } from './plan.ts'

export interface RunResult {
  readonly seed: number
  readonly mode: RunPlan['mode']
  readonly violations: readonly string[]
  readonly events: number
  readonly starts: number
  readonly repeats: number
  readonly hash: number
}

interface Peer {
  readonly id: MemberId
  readonly clock: PeerClock
  readonly link: () => MemoryLink
  readonly broker: Broker
  consumer: Consumer | undefined
  state: 'open' | 'closing' | 'closed' | 'dead'
}
interface Body {
  readonly id: string
  readonly key: string
  readonly seq: number
}

const leaseMs = 6_000
const attempts = 3
const drainMs = 5_000
const sendWithinMs = 10_000
const settleWithinMs = 180_000

/** Runs one seed to its end. Never rejects: what goes wrong is a violation. */
export async function runSeed(seed: number): Promise<RunResult> {
  const plan = planRun(seed)
  const clock = virtualClock()
  const checker = createChecker(plan, () => clock.monotonic())
  const unhandled = (error: unknown): void => checker.violation('L10', `unhandled rejection: ${String(error)}`)
  const repeated = (event: unknown): void => {
    for (const id of (event as { readonly ids?: readonly string[] }).ids ?? []) checker.repeated(id)
  }
  process.on('unhandledRejection', unhandled)
  subscribe('posthorn:send-repeated', repeated)
  try {
    await drive(clock, scenario(plan, clock, checker), 20_000)
  } catch (error) {
    checker.violation('V2', `the run did not end: ${error instanceof Error ? error.message : String(error)}`)
  } finally {
    process.off('unhandledRejection', unhandled)
    unsubscribe('posthorn:send-repeated', repeated)
  }
  const { violations, events, starts, repeats, hash } = checker
  return { seed, mode: plan.mode, violations, events, starts, repeats, hash }
}

async function scenario(plan: RunPlan, clock: ReturnType<typeof virtualClock>, checker: Checker): Promise<void> {
  const random = seeded(seedFor(plan.seed, 'world'))
  const server = memoryServer({ profile: plan.profile, clock, random, leaseMs, heartbeatMs: 1_500, handOverMs: plan.handOverMs })
  const jobs = topic('sim.jobs', {
    schema: unchecked<Body>(),
    groups: ['one', 'two'],
    partitions: plan.keyed ? plan.partitions : undefined,
    key: plan.keyed ? (body: Body) => body.key : undefined,
  })
  const sleep = (ms: number): Promise<void> => new Promise((resolve) => void clock.timer(ms, resolve))
  let made = 0

  async function open(group: string): Promise<Peer> {
    const id: MemberId = { name: `${group}-${made++}`, group }
    const own = peerClock(clock)
    let instance = ''
    const inner = memory({ server })
    const adapter: Adapter = {
      ...inner,
      open(context, signal) {
        instance = context.instance
        return inner.open(context, signal)
      },
    }
    const broker = await connectWith({ clock: own, random: seeded(seedFor(plan.seed, id.name)) }, adapter, {
      name: id.name,
      log: false,
      connectTimeoutMs: 60_000,
    })
    return { id, clock: own, link: () => server.link(instance), broker, consumer: undefined, state: 'open' }
  }

  // A hand-over is only polite if handlers end within the drain time. What the handler of a message does in a group is drawn from both, so that it does the same everywhere.
  function behaviour(
    id: string,
    group: string,
  ): { readonly kind: 'ok' | 'failing' | 'poison' | 'slow' | 'postponing'; readonly ms: number } {
    const draw = seeded(seedFor(plan.seed, `${group}/${id}`))
    let left = draw()
    const ms = Math.floor(draw() * 60)
    for (const [share, kind] of [
      [plan.failing, 'failing'],
      [plan.poison, 'poison'],
      [plan.slow, 'slow'],
      [plan.postponing, 'postponing'],
    ] as const) {
      if (left < share) return { kind, ms: kind === 'slow' ? 2_000 + ms * (plan.mode === 'polite' ? 30 : 200) : ms }
      left -= share
    }
    return { kind: 'ok', ms }
  }

  async function join(group: string): Promise<Peer> {
    const peer = await open(group)
    const seen = new Map<string, number>()
    peer.consumer = await peer.broker.consume(
      jobs,
      {
        group,
        concurrency: plan.concurrency,
        maxUnsettled: plan.maxUnsettled,
        retry: { attempts, firstDelayMs: 100, factor: 2, maxDelayMs: 1_000 },
      },
      async (message) => {
        const { id, value } = message
        checker.start(peer.id, id, value.id === id && (!plan.keyed || value.key === message.key), owner(peer, message.key))
        const act = behaviour(id, group)
        const tries = (seen.get(id) ?? 0) + 1
        seen.set(id, tries)
        await new Promise<void>((resolve) => void peer.clock.timer(act.ms, resolve))
        if (message.signal.aborted) {
          checker.end(peer.id, id, 'cancelled')
          throw new Error('given up')
        }
        if (act.kind === 'poison' || (act.kind === 'failing' && tries === 1)) {
          checker.end(peer.id, id, message.attempt >= attempts ? 'last-failed' : 'failed')
          throw new Error('as planned')
        }
        if (act.kind === 'postponing' && tries === 1) {
          checker.end(peer.id, id, 'postponed')
          return postpone({ afterMs: 500 })
        }
        checker.end(peer.id, id, 'done')
        return undefined
      },
    )
    peer.consumer.closed.catch((error: unknown) => {
      if (peer.state === 'open') checker.violation('V10', `${peer.id.name} died: ${String(error)}`)
    })
    return peer
  }

  function owner(peer: Peer, key: string | undefined): 'mine' | 'other' | 'unknown' {
    if (!plan.keyed || key === undefined || server.state !== 'running') return 'unknown'
    const instance = server.owners(jobs.name, peer.id.group).get(partitionOfKey(key, plan.partitions))
    return instance === undefined ? 'unknown' : instance === peer.link().instance ? 'mine' : 'other'
  }

  async function leave(peer: Peer): Promise<void> {
    peer.state = 'closing'
    const began = clock.monotonic()
    await peer.broker.close({ drainMs })
    const took = clock.monotonic() - began
    if (took > drainMs + 1_000) checker.violation('V3', `${peer.id.name} took ${Math.round(took)} ms to close`)
    peer.state = 'closed'
    checker.closed(peer.id)
  }

  const members: Peer[] = []
  for (const { group } of plan.members) members.push(await join(group))
  const producers = await Promise.all(Array.from({ length: plan.producers }, () => open('producer')))

  async function produce(peer: Peer, index: number): Promise<void> {
    const producer = peer.broker.producer(jobs, { timeoutMs: sendWithinMs })
    const open: Promise<void>[] = []
    for (let seq = 0; seq < plan.messages; seq++) {
      const key = `k${Math.floor(random() * plan.keys)}`
      const id = `p${index}-${seq}`
      checker.sending(id, peer.id.name, key, seq)
      const began = clock.monotonic()
      const end = (outcome: 'stored' | 'failed' | 'unknown'): void => {
        const took = clock.monotonic() - began
        if (took > sendWithinMs + 1_000) checker.violation('L4', `the send of ${id} took ${Math.round(took)} ms`)
        checker.sent(id, outcome)
      }
      open.push(
        producer.send({ id, key, seq }, { id }).then(
          () => end('stored'),
          (error: { outcome?: string }) => end(error.outcome === 'unknown' ? 'unknown' : 'failed'),
        ),
      )
      if (random() < 0.5) await sleep(Math.floor((random() * 2 * plan.spreadMs) / plan.messages))
    }
    await Promise.all(open)
  }

  async function strike(fault: PlannedFault): Promise<void> {
    await sleep(fault.atMs)
    const pool =
      fault.producer && fault.kind !== 'restart' && fault.kind !== 'join' && fault.kind !== 'kill' && fault.kind !== 'freeze'
        ? producers
        : members.filter((each) => each.state === 'open')
    const peer = pool[fault.whom % Math.max(1, pool.length)]
    if (peer === undefined) return
    const link = peer.link()
    if (plan.mode === 'rough') {
      // Whoever is hit may lose what it holds; a server that stops or dies hits all.
      if (fault.kind.startsWith('server')) for (const each of members) checker.faulted(each.id)
      else if (fault.kind !== 'join') checker.faulted(peer.id)
    }
    if (fault.kind === 'cut') link.cut()
    else if (fault.kind === 'silence' || fault.kind === 'withhold' || fault.kind === 'delay') {
      if (fault.kind === 'silence') link.silence((['up', 'down', 'both'] as const)[fault.whom % 3] as 'up')
      else if (fault.kind === 'withhold') link.withhold(fault.whom % 2 === 0 ? ['settle', 'publish'] : ['publish', 'renew', 'settle'])
      else link.delay(200 + (fault.whom % 5) * 100, 100)
      await sleep(fault.forMs)
      link.heal()
    } else if (fault.kind === 'freeze') {
      peer.clock.freeze()
      link.freeze()
      await sleep(fault.forMs)
      if (peer.state === 'dead') return
      link.thaw()
      peer.clock.thaw()
    } else if (fault.kind === 'kill') {
      peer.state = 'dead'
      peer.clock.kill()
      link.kill()
      members.push(await join(peer.id.group))
    } else if (fault.kind === 'restart') {
      if (peer.clock.stopped) return
      await leave(peer)
      members.push(await join(peer.id.group))
    } else if (fault.kind === 'join') members.push(await join(fault.whom % 2 === 0 ? 'one' : 'two'))
    else if (fault.kind === 'expel') server.expel(link.instance)
    else if (fault.kind === 'server-kill' && server.state === 'running') {
      server.signal(fault.whom % 2 === 0 ? 'SIGKILL' : 'SIGTERM')
      await sleep(fault.forMs)
      if (stateOf(server) === 'down') server.start()
    } else if (fault.kind === 'server-stop' && server.state === 'running') {
      server.signal('SIGSTOP')
      await sleep(fault.forMs)
      if (stateOf(server) === 'stopped') server.signal('SIGCONT')
    }
  }

  await Promise.all([...producers.map(produce), ...plan.faults.map(strike), sleep(plan.mode === 'quiet' ? 0 : faultsForMs)])
  if (server.state === 'down') server.start()
  if (server.state === 'stopped') server.signal('SIGCONT')
  const deadLetters = (): Map<string, Set<string>> =>
    new Map(['one', 'two'].map((group) => [group, new Set(server.read({ topic: jobs.name, role: 'dead', group }).map(idOf))]))
  const healed = clock.monotonic()
  for (;;) {
    const dead = deadLetters()
    const finished = ['one', 'two'].every(
      (group) => checker.finished(group, dead.get(group) as Set<string>) && server.remaining(jobs.name, group) === 0,
    )
    if (finished) break
    if (clock.monotonic() - healed > settleWithinMs) {
      checker.violation(
        'V1',
        `not everything is handled and settled ${settleWithinMs} ms after the last fault: ${['one', 'two'].map((group) => `${group} ${server.remaining(jobs.name, group)}`).join(', ')} left; members ${members.map((each) => `${each.id.name} ${each.state} ${each.consumer?.state}`).join(', ')}`,
      )
      break
    }
    await sleep(500)
  }
  await Promise.all([...members, ...producers].filter((each) => each.state === 'open').map(leave))
  const copies = new Map<string, number>()
  for (const each of server.read({ topic: jobs.name, role: 'main', group: null })) copies.set(idOf(each), (copies.get(idOf(each)) ?? 0) + 1)
  checker.judge(deadLetters(), copies)
}

// A function, because the state changes while the caller sleeps.
function stateOf(server: MemoryServer): MemoryServer['state'] {
  return server.state
}

// Where the wire has no headers the id lies in the envelope.
function idOf(stored: StoredMessage): string {
  if (stored.id !== null) return stored.id
  const envelope = JSON.parse(Buffer.from(stored.body ?? new Uint8Array()).toString()) as { readonly id?: string }
  return envelope.id ?? ''
}
