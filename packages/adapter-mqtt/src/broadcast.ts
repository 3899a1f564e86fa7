// A broadcast: everybody who is connected gets everything that is stored from now on, by a session of his own that nobody else ever
// uses and that bridges a short cut. Whoever hears a broadcast also takes part in the moving of delayed messages.

import { type Assignment, createAssignmentQueue, type Delivery, type SettleResult, type Source } from '@posthorn/core/adapter'
import { type Arrived, Owned } from './assignment.ts'
import type { Core, Tenant } from './core.ts'
import { decode, packetBytes } from './decode.ts'
import type { Prover } from './echoes.ts'
import { fault } from './explain.ts'
import { partitionTopic, plainTopic } from './layout.ts'
import { openLink } from './link.ts'
import { join, type Membership } from './membership.ts'
import { holdMover } from './mover.ts'
import { checkNative } from './options.ts'
import { moverSlot } from './subscribe.ts'
import type { Wire } from './wire.ts'

/** A cut so long loses nothing. */
const bridgeSeconds = 60

/** Accepted once the server sends what is stored from now on. */
export async function subscribeBroadcast(core: Core, source: Source, signal: AbortSignal): Promise<AsyncIterable<Assignment>> {
  const { context, settings } = core
  const { topic } = source
  checkNative(`cannot consume "${topic}"`, source.native)
  signal.throwIfAborted()
  const { partitions } = await core.records.look(topic)
  if (partitions === null) throw fault('NOT_FOUND', `mqtt: there is no topic "${topic}"`, 'failed')
  const id = core.member()
  const ending = new AbortController()
  const queue = createAssignmentQueue<Owned>(() => leave())
  const filters = [plainTopic(topic), ...Array.from({ length: partitions }, (_, at) => partitionTopic(topic, at))].map((each) => ({
    topic: each,
    retained: false,
  }))
  let current: Owned | null = null
  let membership: Membership | null = null
  let leaving = false
  let over = false

  // Messages that come before the assignment is there belong to it all the same.
  let early: Arrived[] = []
  let out = new Uint8Array(65_536)

  let prover: Prover | null = null
  // Its words come back on the control connection: messages that wait here do not hold them up.
  function proverOf(wire: Wire): Prover | null {
    prover ??= membership?.echoes.prover(wire, context.clock.monotonic()) ?? null
    return prover
  }
  function unproven(): void {
    prover?.stop()
    prover = null
  }

  function begin(wire: Wire): void {
    const mine = new Owned(topic, 'main', null, {
      maxBuffered: Math.max(1, source.maxUnsettled),
      maxBytes: source.maxBytes,
      soon: (run) => void context.clock.timer(0, run),
      aliveUntil: () => Number.POSITIVE_INFINITY,
      room: () => wire.resume(),
      async settle(tokens): Promise<SettleResult> {
        if (!wire.open) return 'stale'
        const ids = (tokens as readonly number[]).filter((each) => each !== 0)
        for (const each of ids) out[each] = 0
        wire.acknowledge(ids)
        return (await proverOf(wire)?.confirm()) === true ? 'settled' : 'unknown'
      },
      release: async () => {},
      over() {
        if (leaving) finish()
      },
    })
    current = mine
    for (const each of early) mine.push(each)
    early = []
    queue.push(mine)
    if (leaving) void mine.release()
  }

  const link = await openLink(
    {
      settings,
      clock: context.clock,
      random: context.random,
      peers: core.links,
      clientId: `ph!b!${id}`,
      clean: false,
      expirySeconds: bridgeSeconds,
      receiveMaximum: Math.min(65_535, Math.max(1, source.maxUnsettled)),
      acknowledge: 'later',
      onMessage(packet) {
        const packetId = packet.messageId ?? 0
        if (packet.qos > 0 && out[packetId] === 1) return true
        if (packet.qos > 0) out[packetId] = 1
        const came: Arrived = {
          bytes: packetBytes(packet),
          deliver: (): Delivery => ({
            token: packet.qos === 0 ? 0 : packetId,
            content: decode(packet),
            parked: false,
            deliveries: null,
            position: () => null,
          }),
        }
        if (current !== null) return current.push(came)
        early.push(came)
        return true
      },
      greet: (wire) => wire.subscribe(filters),
      onUp(wire) {
        core.state(id, true)
        begin(wire)
      },
      onDown(error) {
        if (!over) core.state(id, false, error)
        unproven()
        const old = current
        current = null
        early = []
        out = new Uint8Array(65_536)
        if (old === null) return
        queue.withdraw(old)
        old.end()
      },
    },
    signal,
  )
  const probing = beat()

  function beat(): () => void {
    let cancel = (): void => {}
    const tick = (): void => {
      cancel = context.clock.timer(settings.keepAliveMs / 4, tick)
      const asking = link.wire === null ? null : proverOf(link.wire)
      if (asking === null) return
      if (asking.askedAt !== null && context.clock.monotonic() - asking.askedAt > settings.lifeMs)
        link.drop(fault('UNAVAILABLE', 'mqtt: the server does not answer', 'unknown'))
      else asking.beat()
    }
    tick()
    return () => cancel()
  }

  function leave(): void {
    if (leaving || over) return
    leaving = true
    membership?.leave()
    if (current === null) return finish()
    if (queue.withdraw(current)) void current.release()
    else current.leave()
  }

  function finish(): void {
    if (!over) void tenant.end(false)
  }

  function stop(): void {
    over = true
    ending.abort()
    probing()
    unproven()
    core.state(id, true)
    signal.removeEventListener('abort', leave)
  }

  const tenant: Tenant = {
    async end(now) {
      const ended = membership?.end(now)
      if (!over) stop()
      current?.end()
      await Promise.all([link.close(now), ended])
      core.leave(tenant)
      queue.end()
    },
  }

  try {
    membership = await join(
      core,
      { topic, group: '-', slots: [moverSlot], hold: (_slot, host) => holdMover(core, topic, host, ending.signal), left() {}, failed() {} },
      signal,
    )
  } catch (error) {
    stop()
    await link.close(true)
    throw error
  }
  if (core.closed) {
    await tenant.end(true)
    throw fault('CLOSED', 'mqtt: the session is closed', 'failed')
  }
  core.enter(tenant)
  signal.addEventListener('abort', leave, { once: true })
  if (signal.aborted) leave()
  return queue.iterable
}
