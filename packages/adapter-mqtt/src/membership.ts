// A member: its control connection, what it says of itself there and sees of others, and the slots that it holds. The decisions are
// ownership.ts; here they are carried out.

import type { IPublishPacket } from 'mqtt'
import type { Core } from './core.ts'
import { endedWithin } from './deadline.ts'
import { createEchoes, type Echoes, type Prover } from './echoes.ts'
import { explain, fault, refusal } from './explain.ts'
import { memberIn, presences, presenceTopic } from './layout.ts'
import { openLink } from './link.ts'
import { createOwnership, type Slot } from './ownership.ts'
import { leftOf, presenceLife, presenceOf, presenceText } from './presence.ts'
import type { Wire } from './wire.ts'

/** A slot that is held. */
export interface Holding {
  /** It is to be given back: finish, then call `Host.released`. */
  leave(): void
  /** It is over. */
  end(): void
  /** Ownership is not proven any more: ask again. */
  probe(): void
}

/** What holds a slot, towards the membership. */
export interface Host {
  readonly echoes: Echoes
  /** Its own connection was closed in order. */
  released(): void
  /** Its connection ended, for whatever reason. */
  closed(): void
  /** What nothing can cure. */
  refused(error: unknown): void
  /** Monotonic: until when the member itself is believed to be seen by the others. */
  readonly aliveUntil: number
}

export interface Membership {
  readonly echoes: Echoes
  /** Gives everything back, then ends. */
  leave(): void
  /** Ends, and resolves when its connections are closed. `now`: without a word. Twice is fine, and the second one may be in a hurry. */
  end(now: boolean): Promise<void>
}

export interface MembershipOptions {
  readonly topic: string
  readonly group: string
  readonly slots: readonly Slot[]
  /** Connects as the owner of a slot. A rejection is a slot that was not had. */
  hold(slot: Slot, host: Host): Promise<Holding>
  /** Everything is given back. */
  left(): void
  failed(error: unknown): void
}

const expirySeconds = 10

/** Becomes a member. Resolves when the server has taken its presence. */
export async function join(core: Core, options: MembershipOptions, signal: AbortSignal): Promise<Membership> {
  const { settings, context } = core
  const { clock, random } = context
  const { topic, group } = options
  const id = core.member()
  const own = presenceTopic(topic, group, id)
  const presenceMs = presenceLife(settings.keepAliveMs)
  const machine = createOwnership(
    {
      viewMs: settings.viewMs,
      coolMs: settings.viewMs,
      presenceMs,
      willMs: settings.willMs,
      fenceLosses: 3,
      fenceWindowMs: 60_000,
      fenceMs: 30_000,
      random,
    },
    { id, group, topic },
    options.slots,
  )
  const holdings = new Map<string, Holding>()
  let claiming = 0
  let prover: Prover | null = null
  let over = false
  let ending: Promise<void> | null = null
  let leaving = false
  let cancelWake: (() => void) | null = null
  let cancelBeat: (() => void) | null = null
  let saidAt = Number.NEGATIVE_INFINITY
  let lastProof = clock.monotonic()
  let asked = false

  const echoes = createEchoes(clock, id)

  function take(packet: IPublishPacket): boolean {
    const { topic: name } = packet
    if (name === echoes.topic) echoes.heard(packet.payload as Buffer)
    else {
      const { group: whose, member } = memberIn(name)
      machine.seen(whose, member, presenceOf(packet), leftOf(packet), clock.monotonic())
      soon()
    }
    return true
  }

  let link: Awaited<ReturnType<typeof openLink>> | null = null
  link = await openLink(
    {
      settings,
      clock,
      random,
      peers: core.links,
      clientId: `ph!m!${id}`,
      clean: false,
      expirySeconds,
      receiveMaximum: 1000,
      will: own,
      acknowledge: 'at-once',
      onMessage: take,
      async greet(wire) {
        machine.afresh(clock.monotonic())
        await wire.subscribe([
          { topic: echoes.topic, retained: false },
          { topic: presences(topic, null), retained: true },
        ])
      },
      onUp: up,
      onDown(error) {
        prover?.stop()
        prover = null
        machine.control(false, clock.monotonic())
        if (!over) core.state(id, false, error)
        for (const each of holdings.values()) each.probe()
        soon()
      },
    },
    signal,
  )

  function up(wire: Wire): void {
    prover = echoes.prover(wire, clock.monotonic())
    machine.control(true, clock.monotonic())
    core.state(id, true)
    prover.beat()
    if (link !== null) soon()
  }

  // ── what is to be done ───────────────────────────────────────────────────────────────────────────────────────────
  function soon(): void {
    if (asked || over) return
    asked = true
    queueMicrotask(() => {
      asked = false
      look()
    })
  }

  function look(): void {
    if (over) return
    const now = clock.monotonic()
    const step = machine.decide(now)
    for (const slot of step.fenced)
      context.event('fenced', {
        topic,
        group,
        ...partitionOf(slot),
        note: `somebody else takes ${nameOf(slot)} again and again; leaving it alone for 30 s`,
      })
    for (const slot of step.leave) holdings.get(slot)?.leave()
    for (const slot of step.claim) claim(slot)
    if (step.publish) say()
    cancelWake?.()
    cancelWake = Number.isFinite(step.wakeAt) ? clock.timer(Math.max(1, step.wakeAt - clock.monotonic()), soon) : null
    finish()
  }

  const nameOf = (slot: string): string => (/^\d+$/.test(slot) ? `partition ${slot}` : 'the moving of delayed messages')
  const partitionOf = (slot: string): { partition?: number } => (/^\d+$/.test(slot) ? { partition: Number(slot) } : {})

  function say(): void {
    const wire = link?.wire
    if (wire === null || wire === undefined) return
    saidAt = clock.monotonic()
    wire.store(own, presenceText(machine.presence, clock.now()), { retain: true, expirySeconds: Math.ceil(presenceMs / 1000) }).then(
      (reason) => {
        if (reason < 0x80) return
        const error =
          reason === 0x87
            ? fault('UNAUTHORIZED', `mqtt: the right to publish to "${own}" is missing: members say there that they live`, 'failed')
            : refusal(`cannot publish to "${own}", where members say that they live`, reason)
        // What may pass is said again with the next sign of life.
        if (!explain(error).retryable) die(error)
      },
      () => {},
    )
  }

  function claim(name: string): void {
    const slot = options.slots.find((each) => each.name === name)
    if (slot === undefined) return
    let done = false
    const host: Host = {
      echoes,
      get aliveUntil() {
        return (prover?.proof ?? lastProof) + settings.lifeMs
      },
      released() {
        if (done) return
        done = true
        holdings.delete(name)
        machine.released(name, clock.monotonic())
        soon()
      },
      closed() {
        if (done) return
        done = true
        holdings.delete(name)
        machine.closed(name, clock.monotonic())
        soon()
      },
      refused: die,
    }
    claiming++
    options.hold(slot, host).then(
      (holding) => {
        claiming--
        if (over) return holding.end()
        if (done) return finish()
        holdings.set(name, holding)
        machine.opened(name, clock.monotonic())
        if (leaving) holding.leave()
        soon()
      },
      (error: unknown) => {
        claiming--
        if (over) return
        if (!explain(error).retryable) return die(error)
        host.closed()
      },
    )
  }

  // ── signs of life ────────────────────────────────────────────────────────────────────────────────────────────────
  function beat(): void {
    // Where answers are long under way questions follow each other sooner, because each answer is older when it comes.
    const isSlow = prover !== null && prover.askedAt !== null
    cancelBeat = clock.timer(settings.keepAliveMs / (isSlow ? 8 : 4), beat)
    const now = clock.monotonic()
    if (prover !== null) {
      lastProof = Math.max(lastProof, prover.proof)
      if (prover.askedAt !== null && now - prover.askedAt > settings.lifeMs)
        link?.drop(fault('UNAVAILABLE', 'mqtt: the server does not answer', 'unknown'))
      else prover.beat()
    }
    for (const each of [...holdings.values()]) each.probe()
    if (now - saidAt >= settings.keepAliveMs / 2) say()
    soon()
  }

  function die(error: unknown): void {
    if (over) return
    void end(false).then(() => options.failed(error))
  }

  function finish(): void {
    if (!leaving || over || holdings.size > 0 || claiming > 0) return
    void end(false).then(() => options.left())
  }

  function end(now: boolean): Promise<void> {
    if (now) void link?.close(true)
    ending ??= ended(now)
    return ending
  }

  async function ended(now: boolean): Promise<void> {
    over = true
    cancelWake?.()
    cancelBeat?.()
    prover?.stop()
    for (const each of [...holdings.values()]) each.end()
    holdings.clear()
    core.state(id, true)
    const wire = link?.wire
    // Whoever says goodbye has no will: its presence is taken away by itself.
    if (!now && wire?.open === true) await endedWithin(clock, 500, wire.store(own, Buffer.alloc(0), { retain: true }))
    await link?.close(now)
  }

  beat()
  return {
    echoes,
    leave() {
      if (leaving || over) return
      leaving = true
      machine.leaveAll()
      soon()
    },
    end,
  }
}
