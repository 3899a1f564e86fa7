// Plays members in this process: a member has its own connection and its own clock, so that it can freeze and die alone.

import {
  type Broker,
  type ConsumeOptions,
  type Consumer,
  type Decision,
  deadLetter,
  drop,
  type Message,
  postpone,
  retry,
} from '@posthorn/core'
import { fail } from './assert.ts'
import type { Connections } from './connections.ts'
import type { SimulatedLink } from './harness.ts'
import type { Act, Member, Script } from './member.ts'
import type { Order } from './orders.ts'
import type { Peer } from './peer.ts'
import type { Recorder, Start } from './recorder.ts'

export interface PlayTools {
  readonly connections: Connections
  readonly random: () => number
  recorder(name: string): Recorder
  consumeOptions(options: Partial<ConsumeOptions>): ConsumeOptions
  orders(n: number, keys: number): readonly Order[]
  /** Told the connection as soon as there is one. */
  began?(peer: Peer): void
}
const never = new Promise<never>(() => {})

/** Starts a member and resolves when it is subscribed. */
export async function playMember(script: Script, name: string, tools: PlayTools): Promise<Member> {
  const { connections } = tools
  let ended: () => void = () => {}
  const died = new Promise<void>((resolve) => {
    ended = resolve
  })
  const { broker, peer } = await connections.connect({ jitter: script.jitter ?? 'full' }, { name, dieAt: script.dieAt })
  tools.began?.(peer)
  const recorder = script.recorder ?? tools.recorder(name)
  const kill = peer.kill
  peer.kill = () => {
    kill()
    for (const start of recorder.starts) if (start.member === name) recorder.end(start, 'lost')
    ended()
  }
  let consumer: Consumer | undefined
  const mine = (): readonly Start[] => recorder.starts.filter((start) => start.member === name)
  const play = player(script.acts ?? [], peer, tools.random)

  if (script.topic !== undefined) {
    const { max, waitMs, ...options } = script.options ?? {}
    const given = {
      ...tools.consumeOptions(options),
      group: script.group ?? 'workers',
      ...(script.once === undefined ? {} : { once: script.once }),
    }
    if (script.mode === 'batch') {
      const { ordering: _ordering, settle: _settle, forward: _forward, rate: _rate, once: _once, ...batch } = given
      consumer = await broker.consumeBatch(
        script.topic,
        { ...batch, ...(max === undefined ? {} : { max }), ...(waitMs === undefined ? {} : { waitMs }) },
        recorder.batchHandler<Order>(
          async (messages, starts) => Promise.all(messages.map((message, index) => play(message, starts[index] as Start))),
          name,
        ) as never,
      )
    } else {
      consumer = await broker.consume(script.topic, given, recorder.handler<Order>(play, name) as never)
    }
    consumer.closed.catch(() => {})
  }
  if (script.produce !== undefined) void produce(broker, peer, script.produce, tools)

  const link = (): SimulatedLink => connections.link(peer)
  return {
    name,
    instance: peer.instance ?? fail(`${name} has no identity`),
    get alive() {
      return peer.state !== 'dead'
    },
    get frozen() {
      return peer.state !== 'dead' && peer.clock.stopped
    },
    get running() {
      return mine().filter((start) => start.end === 'open').length
    },
    get starts() {
      return mine().length
    },
    get link() {
      return link()
    },
    calls: peer.calls,
    consumer,
    kill: () => peer.kill(),
    freeze() {
      peer.wasFrozen = true
      peer.clock.freeze()
      link().freeze()
    },
    thaw() {
      peer.clock.thaw()
      link().thaw()
    },
    cut: () => link().cut(),
    close: (options) => broker.close(options),
    died,
  }
}

function player(
  acts: readonly Act[],
  peer: Peer,
  random: () => number,
): (message: Message<Order>, start: Start) => Promise<Decision | void> {
  const used = new Map<Act, number>()
  const fits = (act: Act, message: Message<Order>): boolean => {
    const { when } = act
    if (when === undefined) return true
    const { id, key, seq } = message.value
    if (when.ids !== undefined && !when.ids.includes(id)) return false
    if (when.keys !== undefined && !when.keys.includes(key)) return false
    if (when.seqs !== undefined && !when.seqs.includes(seq)) return false
    if (when.attempts !== undefined && message.attempt > when.attempts) return false
    return when.first === undefined || (used.get(act) ?? 0) < when.first
  }
  return async (message) => {
    const act = acts.find((each) => fits(each, message))
    if (act === undefined) return
    used.set(act, (used.get(act) ?? 0) + 1)
    if (act.forward !== undefined) message.forward(act.forward, message.value)
    const { holdMs } = act
    if (holdMs !== undefined) {
      const ms = typeof holdMs === 'number' ? holdMs : holdMs[0] + random() * (holdMs[1] - holdMs[0])
      await new Promise<void>((resolve) => {
        peer.clock.timer(ms, resolve)
      })
    }
    await act.gate?.wait()
    // A stopped process does not go on because a gate opened; a dead one never does.
    await peer.clock.awake()
    const { then = 'done' } = act
    if (then === 'done') return
    if (then === 'throw') throw new Error(`${message.value.id} fails on purpose`)
    if (then === 'never') return never
    if (then === 'exit') {
      peer.kill()
      return never
    }
    if ('retry' in then) return retry({ afterMs: then.retry })
    if ('postpone' in then) return postpone({ afterMs: then.postpone })
    if ('deadLetter' in then) return deadLetter(then.deadLetter)
    return drop(then.drop)
  }
}

async function produce(broker: Broker, peer: Peer, plan: NonNullable<Script['produce']>, tools: PlayTools): Promise<void> {
  const producer = broker.producer(plan.topic, { timeoutMs: 5000, ...plan.options })
  for (const order of tools.orders(plan.count, plan.keys ?? 64)) {
    if (peer.state !== 'open') return
    // Every outcome is in the trial's list of sends.
    const sent = producer.send(order, { id: order.id }).catch(() => {})
    if (plan.everyMs === undefined) await sent
    else
      await new Promise<void>((resolve) => {
        peer.clock.timer(plan.everyMs as number, resolve)
      })
  }
}
