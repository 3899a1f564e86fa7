// Moves a topic's delayed messages into their partitions when they are due. One member at a time does it, whatever its group is: its
// connection has a name of its own, and what an earlier mover would still send does not arrive, because the server has closed its
// connection.

import type { Content } from '@posthorn/core/adapter'
import { Bytes } from './bytes.ts'
import type { Core } from './core.ts'
import { decode } from './decode.ts'
import type { Prover } from './echoes.ts'
import { topicBytes, writePublish } from './encode.ts'
import { folder, moverId, partitionTopic, plainTopic } from './layout.ts'
import type { Holding, Host } from './membership.ts'
import { createWaitingList, type Waiting } from './waiting.ts'
import { openWire, type Wire } from './wire.ts'

const nothing = Buffer.alloc(0)
/** At once: what is sent twice at most when a mover dies. */
const mostAtOnce = 50
const troubleMs = 500
const unrouted = 0x10

/** Connects as the mover of a topic. */
export async function holdMover(core: Core, topic: string, host: Host, signal: AbortSignal): Promise<Holding> {
  const { context, settings } = core
  const { clock } = context
  const place = { topic, role: 'delay' as const, group: null }
  let ended = false
  let leaving = false
  let moving = false
  let wire: Wire | null = null
  let cancel: (() => void) | null = null
  let prover: Prover | null = null
  const sentAt = clock.monotonic()
  /** In their partition already, and not cleared yet. */
  const moved = new WeakSet<Waiting>()

  const list = createWaitingList(clock, move, async (name) => {
    await wire?.subscribe([{ topic: name, retained: true }])
    await wire?.unsubscribe([name])
  })

  wire = await openWire(
    {
      settings,
      clock,
      clientId: moverId(topic),
      clean: true,
      expirySeconds: 0,
      receiveMaximum: 1000,
      acknowledge: 'at-once',
      onMessage(packet) {
        list.put(packet)
        return true
      },
      onEnd() {
        if (ended) return
        stop()
        host.closed()
      },
    },
    signal,
  )
  try {
    await wire.subscribe([{ topic: `${folder(place)}/#`, retained: true }])
  } catch (error) {
    wire.destroy()
    throw error
  }
  prover = host.echoes.prover(wire, sentAt)
  // What came before the answer.
  move()

  function move(): void {
    if (ended || moving || leaving || prover === null || cancel !== null) return
    // Whoever stood still asks first whether it is still the one.
    if (clock.monotonic() >= Math.min(prover.proof + settings.lifeMs, host.aliveUntil)) return later()
    const due = list.take(mostAtOnce)
    if (due.length === 0) return
    moving = true
    Promise.all(due.map(moveOne)).then((done) => {
      moving = false
      if (leaving) goodbye()
      else if (done.every((each) => each)) move()
      else later()
    })
  }

  function later(): void {
    if (ended || cancel !== null) return
    cancel = clock.timer(troubleMs, () => {
      cancel = null
      move()
    })
  }

  async function moveOne(one: Waiting): Promise<boolean> {
    try {
      const { packet } = one
      if (packet === null || wire === null) return true
      const to = one.partition === null ? plainTopic(topic) : partitionTopic(topic, one.partition)
      if (!moved.has(one)) {
        const content = decode(packet)
        // An envelope has its id in its body.
        if ('undecodable' in content || (content.id === null && settings.version === 5)) {
          strange(one, 'undecodable' in content ? content.undecodable : 'it has no id')
          return true
        }
        const reason = await send(wire, to, content as Content)
        // What nobody would get stays where it is.
        if (reason >= 0x80 || reason === unrouted) {
          list.giveBack(one)
          return false
        }
        moved.add(one)
      }
      if ((await wire.store(one.topic, nothing, { retain: true })) >= 0x80) {
        list.giveBack(one)
        return false
      }
      list.drop(one)
      return true
    } catch {
      list.giveBack(one)
      return false
    }
  }

  /** None of ours: it stays where it is, and is not looked at again. */
  function strange(one: Waiting, why: string): void {
    list.drop(one)
    context.event('blocked', {
      topic,
      note: `what lies in "${one.topic}" is no delayed message of ours, and stays there: ${why}`,
    })
  }

  function send(on: Wire, to: string, content: Content): Promise<number> {
    return new Promise((resolve, reject) => {
      const told = (reason: number | null): void => (reason === null ? reject(new Error('the connection was lost')) : resolve(reason))
      const id = on.begin(told)
      if (id === 0) return reject(new Error('the connection is busy'))
      const bytes = new Bytes(1024)
      try {
        writePublish(bytes, settings.version, topicBytes(to), id, content, false)
      } catch (error) {
        on.forget(id)
        throw error
      }
      on.send(bytes.taken())
    })
  }

  function stop(): void {
    ended = true
    cancel?.()
    list.stop()
    prover?.stop()
  }

  function goodbye(): void {
    if (ended) return
    stop()
    void wire?.close().then(() => host.released())
  }

  return {
    leave() {
      leaving = true
      if (!moving) goodbye()
    },
    end() {
      if (ended) return
      stop()
      wire?.destroy()
    },
    probe() {
      if (ended || wire === null || prover === null) return
      const now = clock.monotonic()
      if (prover.askedAt !== null && now - prover.askedAt > settings.lifeMs) wire.destroy()
      else prover.beat()
    },
  }
}
