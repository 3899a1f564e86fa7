// Stands between core and the adapter and sees every call: the suite's own count of what was asked, whatever the library says
// about itself. It also ends processes at an exact point, and keeps a dead one from doing anything more.

import type { Adapter, AdapterContext, Assignment, Delivery, Outgoing, Session } from '@posthorn/core/adapter'
import type { SimulatedLink } from './harness.ts'
import type { Journal } from './journal.ts'
import type { Peer } from './peer.ts'

export interface ObserveTools {
  readonly journal: Journal
  link(instance: string): SimulatedLink
  /** Partitions of each topic, as declaring told. */
  readonly partitions: Map<string, number>
  /** Before anything is settled or sent: what was seen so far gets out of this process, which may die at any moment. */
  readonly flush?: (() => void) | undefined
}

const never = new Promise<never>(() => {})

/** The adapter, with everything that goes through it counted for this peer. */
export function observeAdapter(inner: Adapter, peer: Peer, tools: ObserveTools): Adapter {
  return {
    name: inner.name,
    best: inner.best,
    explain: (error) => inner.explain(error),
    async open(context, signal) {
      peer.instance = context.instance
      peer.before?.(tools.link(context.instance))
      const heard: AdapterContext = {
        clock: context.clock,
        random: peer.random,
        instance: context.instance,
        name: context.name,
        report(status, error) {
          peer.said.push({ at: peer.clock.monotonic(), name: status, detail: error })
          tools.journal.note(`${peer.name}: ${status}`)
          context.report(status, error)
        },
        event(name, detail) {
          peer.said.push({ at: peer.clock.monotonic(), name, detail })
          tools.journal.note(`${peer.name}: ${name}${detail.note === undefined ? '' : ` (${detail.note})`}`)
          context.event(name, detail)
        },
      }
      return observeSession(await inner.open(heard, signal), peer, tools)
    },
  }
}

function observeSession(inner: Session, peer: Peer, tools: ObserveTools): Session {
  const { journal } = tools
  const { calls } = peer
  let reached = 0

  /** False: the process is dead and the call must never return. */
  function lives(operation: string): boolean {
    if (peer.state === 'dead') return false
    if (peer.state === 'closed') journal.violate('LIFE-16', `${peer.name} asked for ${operation} after close had resolved`)
    calls.lastCallAt = peer.clock.monotonic()
    return true
  }
  function strikes(operation: 'publish' | 'settle', roles: readonly string[]): boolean {
    const point = peer.dieAt
    if (point === undefined || point.operation !== operation || (point.role !== undefined && !roles.includes(point.role))) return false
    return ++reached === (point.nth ?? 1)
  }

  return {
    capabilities: inner.capabilities,
    client: inner.client,
    async declare(topology, signal) {
      if (!lives('declare')) return never
      calls.declare++
      const states = await inner.declare(topology, signal)
      for (const state of states) tools.partitions.set(state.name, state.partitions)
      return states
    },
    async publish(batch, signal) {
      if (!lives('publish')) return never
      const fatal = strikes(
        'publish',
        batch.map((message) => message.place.role),
      )
      if (fatal && peer.dieAt?.when === 'before') {
        peer.kill()
        return never
      }
      tools.flush?.()
      calls.publish++
      calls.published += batch.length
      calls.openPublishes++
      calls.mostPublishes = Math.max(calls.mostPublishes, calls.openPublishes)
      for (const message of batch) journal.note(`${peer.name}: publish to ${placeOf(message)}`, message.id)
      try {
        const report = await inner.publish(batch, signal)
        if (fatal && peer.state !== 'dead') peer.kill()
        if (peer.state === 'dead') return never
        for (const failure of report.failures) journal.note(`${peer.name}: publish is ${failure.outcome}`, batch[failure.index]?.id)
        return report
      } finally {
        calls.openPublishes--
      }
    },
    async subscribe(source, signal) {
      if (!lives('subscribe')) return never
      calls.subscribe++
      const assignments = await inner.subscribe(source, signal)
      return (async function* (): AsyncGenerator<Assignment> {
        for await (const assignment of assignments) {
          if (peer.state === 'dead') await never
          yield observeAssignment(assignment, peer, tools, lives, strikes)
        }
      })()
    },
    browse: (place, after, max, signal) => (lives('browse') ? inner.browse(place, after, max, signal) : never),
    remove: (place, entries, signal) => (lives('remove') ? inner.remove(place, entries, signal) : never),
    inspect: (topic, group, signal) => (lives('inspect') ? inner.inspect(topic, group, signal) : never),
    close: (signal) => (peer.state === 'dead' ? never : inner.close(signal)),
  }
}

function observeAssignment(
  inner: Assignment,
  peer: Peer,
  tools: ObserveTools,
  lives: (operation: string) => boolean,
  strikes: (operation: 'settle', roles: readonly string[]) => boolean,
): Assignment {
  const { calls } = peer
  const { journal } = tools
  const ids = new Map<unknown, string>()
  const where = `${inner.topic} ${inner.role} ${inner.partition ?? 'share'}`
  const entry = { topic: inner.topic, role: inner.role, partition: inner.partition, since: peer.clock.monotonic() }
  calls.assignments = [...calls.assignments, entry]
  journal.note(`${peer.name}: assigned ${where}`)
  const over = (how: string): void => {
    if (!calls.assignments.includes(entry)) return
    calls.assignments = calls.assignments.filter((other) => other !== entry)
    journal.note(`${peer.name}: ${how} ${where}`)
  }
  inner.leaving.addEventListener('abort', () => journal.note(`${peer.name}: leaving ${where}`), { once: true })
  inner.lost.addEventListener('abort', () => over('lost'), { once: true })

  return {
    topic: inner.topic,
    role: inner.role,
    partition: inner.partition,
    leaving: inner.leaving,
    lost: inner.lost,
    get aliveUntil() {
      return inner.aliveUntil
    },
    async read(max) {
      if (!lives('read')) return never
      calls.read++
      const deliveries = await inner.read(max)
      if (peer.state === 'dead') return never
      calls.handedOut += deliveries.length
      for (const delivery of deliveries) {
        const id = idOf(delivery)
        if (id !== undefined) {
          ids.set(delivery.token, id)
          journal.note(`${peer.name}: handed out from ${where}`, id)
        }
      }
      return deliveries
    },
    async settle(tokens, outputs) {
      if (!lives('settle')) return never
      const fatal = strikes('settle', [inner.role])
      if (fatal && peer.dieAt?.when === 'before') {
        peer.kill()
        return never
      }
      tools.flush?.()
      calls.settle++
      calls.openSettles++
      try {
        const result = await (outputs === undefined ? inner.settle(tokens) : inner.settle(tokens, outputs))
        if (fatal && peer.state !== 'dead') peer.kill()
        if (peer.state === 'dead') return never
        if (result === 'settled') calls.settled += tokens.length
        for (const token of tokens) {
          const id = ids.get(token)
          if (id !== undefined) journal.note(`${peer.name}: settle is ${result}`, id)
          ids.delete(token)
        }
        return result
      } finally {
        calls.openSettles--
      }
    },
    async release() {
      if (peer.state === 'dead') return never
      calls.release++
      await inner.release()
      over('released')
    },
  }
}

function placeOf(message: Outgoing): string {
  const { role, topic, group } = message.place
  return role === 'main' ? `${topic} ${message.partition ?? 'any'}` : `${topic} ${role}${group === null ? '' : ` of ${group}`}`
}
function idOf(delivery: Delivery): string | undefined {
  return 'undecodable' in delivery.content ? undefined : (delivery.content.id ?? undefined)
}
