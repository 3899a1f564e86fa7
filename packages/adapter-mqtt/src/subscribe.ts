// Membership in a group: partitions by the protocol of ownership.ts, due retries with the first of them, and the moving of delayed
// messages, which is one of all groups'.

import { setMaxListeners } from 'node:events'
import { type Assignment, createAssignmentQueue, type Source } from '@posthorn/core/adapter'
import type { Owned } from './assignment.ts'
import type { Core, Tenant } from './core.ts'
import { fault } from './explain.ts'
import { type Holding, type Host, join, type Membership } from './membership.ts'
import { holdMover } from './mover.ts'
import { checkNative } from './options.ts'
import type { Slot } from './ownership.ts'
import { holdPartition } from './partition.ts'
import { holdRetries, type Retries } from './retries.ts'

/** The slot of the moving of delayed messages. */
export const moverSlot: Slot = Object.freeze({ name: 'delay', group: null, at: 0 })

/** Becomes a member. Resolves when the server has accepted it. */
export async function subscribeGroup(core: Core, source: Source, signal: AbortSignal): Promise<AsyncIterable<Assignment>> {
  const { topic } = source
  const group = source.group ?? ''
  checkNative(`cannot consume "${topic}"`, source.native)
  signal.throwIfAborted()
  const known = await core.records.look(topic)
  const { partitions } = known
  if (partitions === null) throw fault('NOT_FOUND', `mqtt: there is no topic "${topic}"`, 'failed')
  if (!known.groups.has(group)) throw fault('NOT_FOUND', `mqtt: topic "${topic}" has no group "${group}"`, 'failed')
  const queue = createAssignmentQueue<Owned>(() => leave())
  const ending = new AbortController()
  // One for each partition's connection: many of them are no leak.
  setMaxListeners(0, ending.signal)
  let membership: Membership | null = null
  let over = false

  const slots: Slot[] = [moverSlot]
  for (let at = 0; at < partitions; at++) slots.push({ name: String(at), group, at })

  const yields = { yield: (owned: Owned) => queue.push(owned), withdraw: (owned: Owned) => queue.withdraw(owned) }

  function hold(slot: Slot, host: Host): Promise<Holding> {
    if (slot === moverSlot) return holdMover(core, topic, host, ending.signal)
    const partition = Number(slot.name)
    const options = { core, source, group, partition, ...yields }
    return partition === 0 ? holdFirst(options) : holdPartition({ ...options, host }, ending.signal)

    // The first partition's owner has the retries too: it is given back when both are.
    async function holdFirst(first: typeof options): Promise<Holding> {
      let open = 1
      let retries: Retries | null = null
      let gone = false
      const part = (): void => {
        open--
        if (open === 0 && !gone) host.released()
      }
      const lost = (): void => {
        if (gone) return
        gone = true
        retries?.end()
        main?.end()
        if (retries !== null) queue.withdraw(retries.owned)
        host.closed()
      }
      const inner: Host = {
        echoes: host.echoes,
        get aliveUntil() {
          return host.aliveUntil
        },
        released: part,
        closed: lost,
        refused: host.refused,
      }
      let main: Holding | null = null
      // Core has both when both are there.
      const ready: Owned[] = []
      const later = {
        yield: (owned: Owned) => void ready.push(owned),
        withdraw: (owned: Owned) => ready.includes(owned) || first.withdraw(owned),
      }
      main = await holdPartition({ ...first, ...later, host: inner }, ending.signal)
      if (source.kind === 'group' && !gone) {
        try {
          retries = await holdRetries(
            core,
            source,
            group,
            { host, aliveUntil: () => host.aliveUntil, released: part, closed: lost },
            ending.signal,
          )
        } catch (error) {
          gone = true
          main.end()
          throw error
        }
        if (gone) retries.end()
        else open++
      }
      if (!gone) {
        for (const owned of ready.splice(0)) queue.push(owned)
        if (retries !== null) queue.push(retries.owned)
      }
      return {
        leave() {
          main.leave()
          if (retries === null) return
          if (queue.withdraw(retries.owned)) void retries.owned.release()
          else retries.owned.leave()
          const { owned } = retries
          const cancel = core.context.clock.timer(Math.min(source.handOverMs, 600_000) + 1000, () => void owned.release())
          owned.lost.addEventListener('abort', cancel, { once: true })
        },
        end() {
          gone = true
          main.end()
          if (retries !== null) queue.withdraw(retries.owned)
          retries?.end()
        },
        probe() {
          main.probe()
          retries?.probe()
        },
      }
    }
  }

  function leave(): void {
    membership?.leave()
  }

  function finish(): void {
    over = true
    ending.abort()
    signal.removeEventListener('abort', leave)
    core.leave(tenant)
  }

  const tenant: Tenant = {
    async end(now) {
      // What is held ends first: its connections end with `ending`, and that is no loss.
      const ended = membership?.end(now)
      if (!over) finish()
      await ended
      queue.end()
    },
  }

  membership = await join(
    core,
    {
      topic,
      group,
      slots,
      hold,
      left() {
        if (over) return
        finish()
        queue.end()
      },
      failed(error) {
        if (over) return
        finish()
        queue.fail(error)
      },
    },
    signal,
  )
  if (signal.aborted || core.closed) {
    const ended = membership.end(core.closed)
    finish()
    await ended
    throw core.closed ? fault('CLOSED', 'mqtt: the session is closed', 'failed') : fault('CANCELLED', 'mqtt: the subscription was given up')
  }
  signal.addEventListener('abort', leave, { once: true })
  core.enter(tenant)
  return queue.iterable
}
