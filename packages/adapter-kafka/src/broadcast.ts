// A broadcast: everybody who is connected gets everything that is stored from now on. It reads all partitions without any group, so
// nothing is written and nothing stays behind.

import { type Assignment, createAssignmentQueue, type SettleResult, type Source } from '@posthorn/core/adapter'
import { type Host, Owned } from './assignment.ts'
import { fault, unreadable } from './explain.ts'
import { createFetcher } from './fetcher.ts'
import { offsetsAt } from './offsets.ts'
import { consumerOptions } from './options.ts'
import type { Subscribing, Subscription } from './subscribe.ts'

const settled: Promise<SettleResult> = Promise.resolve('settled')

/** Accepted once its start is fixed on all partitions. */
export async function subscribeBroadcast(on: Subscribing, source: Source, signal: AbortSignal): Promise<AsyncIterable<Assignment>> {
  const { cluster, context } = on
  const { topic } = source
  consumerOptions(topic, source.native)
  const at = on.topicAt({ topic, role: 'main', group: null })
  signal.throwIfAborted()
  // A topic that is made again in between has another id than this, and that is noticed.
  const id = (await cluster.look(at))?.id ?? ''
  const ends = await offsetsAt(cluster, at, 'latest')
  if (signal.aborted) throw fault('CANCELLED', 'kafka: the subscription was given up')
  const fetcher = createFetcher(cluster, `fetch${on.number}`)
  const assignments = new Set<Owned>()
  const queue = createAssignmentQueue<Owned>(() => leave())
  let leaving = false
  let over = false

  function hostOf(topicId: string, partition: number): Host {
    return {
      topic,
      role: 'main',
      partition,
      source: at,
      topicId,
      maxUnsettled: source.maxUnsettled,
      maxBytes: source.maxBytes,
      atomic: source.atomic,
      aliveUntil: () => Number.POSITIVE_INFINITY,
      hungry: (reader) => fetcher.hungry(reader),
      commit: () => settled,
      note() {},
      forward: () => settled,
      flush: async () => {},
      spoiled() {},
      outOfRange: (one) => void outOfRange(one, partition),
      gone: (one) => void gone(one, partition),
      refused: failed,
      unreadable: (error) => failed(unreadable(error, partition, at)),
      over(one) {
        assignments.delete(one)
        fetcher.remove(one)
        queue.withdraw(one)
        if (leaving && assignments.size === 0) finish()
      },
    }
  }

  async function outOfRange(one: Owned, partition: number): Promise<void> {
    const from = one.position
    const oldest = (await offsetsAt(cluster, at, 'earliest').catch(() => null))?.get(partition)
    // Another answer to the same question may have been quicker.
    if (oldest === undefined || one.ended || one.position !== from || oldest === from) return
    context.event('position-lost', { topic, partition, note: `position ${from} is gone; it goes on from ${oldest}` })
    if (oldest > from) return one.moveTo(oldest)
    one.end()
    start(await idNow(), partition, oldest)
  }

  async function idNow(): Promise<string> {
    return (await cluster.look(at).catch(() => null))?.id ?? ''
  }

  async function gone(one: Owned, partition: number): Promise<void> {
    const there = await cluster.look(at).catch(() => undefined)
    if (there === undefined) return
    const note =
      there === null
        ? `topic "${at}" was gone from the server; made again`
        : `topic "${at}" was deleted and made again; it goes on from the oldest message`
    // Nodes hear of a new topic one after the other: the same id is the same topic.
    if (there === null ? !(await on.declareAgain(topic).catch(() => false)) : there.id === one.topicId) return
    const topicId = await idNow()
    if (one.ended) return
    context.event('position-lost', { topic, partition, note })
    one.end()
    start(topicId, partition, 0)
  }

  /** An assignment belongs to one log: one that was made again has another. */
  function start(topicId: string, partition: number, position: number): void {
    if (leaving || over) return
    const one = new Owned(hostOf(topicId, partition), { offset: position, metadata: '' })
    assignments.add(one)
    fetcher.add(one)
    queue.push(one)
  }

  function leave(): void {
    if (leaving || over) return
    leaving = true
    for (const one of [...assignments]) {
      if (queue.withdraw(one)) void one.release()
      else one.leave()
    }
    if (assignments.size === 0) finish()
  }

  function finish(): void {
    if (over) return
    over = true
    void fetcher.stop()
    signal.removeEventListener('abort', leave)
    on.leave(subscription)
    queue.end()
  }

  function failed(error: unknown): void {
    if (over) return
    over = true
    void fetcher.stop()
    signal.removeEventListener('abort', leave)
    on.leave(subscription)
    for (const one of [...assignments]) one.end()
    queue.fail(error)
  }

  const subscription: Subscription = {
    async end() {
      for (const one of [...assignments]) one.end()
      finish()
    },
  }
  on.enter(subscription)
  signal.addEventListener('abort', leave, { once: true })
  for (const [partition, position] of ends) start(id, partition, position)
  return queue.iterable
}
