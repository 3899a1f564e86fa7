// Figures that clauses about load judge by: latencies, and repeats that a hand-over may cause where only prefixes are settled.

import type { Auditor } from '../harness.ts'
import { partitionOfKey } from '../murmur2.ts'
import type { Order } from '../orders.ts'
import type { Recorder, Start } from '../recorder.ts'
import type { Trial } from '../trial.ts'

/** The value that 99 % are not above. */
export function p99(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[Math.max(0, Math.ceil(sorted.length * 0.99) - 1)] ?? 0
}

/**
 * Repeats after polite hand-overs. None where tokens are settled one by one. Where only prefixes are, those that finished behind a
 * message of their partition that had not, which then was handled by another member; and each of them was told as such. `sent` is in
 * send order.
 */
export function politeRepeats(t: Trial, seen: Recorder, sent: readonly Order[], partitions: number): void {
  const told = new Set(idsOf(t, 'behind-waiting'))
  const explained = (start: Start): boolean => told.has(start.id) && isBehind(seen, start, sent, partitions)
  const wrong = t.capabilities.settlement === 'each' ? seen.repeated : seen.repeated.filter((start) => !explained(start))
  if (wrong.length > 0) {
    t.fail(
      `${wrong.length} of ${seen.repeats} repeats after polite hand-overs had nothing unfinished before them in their partition, or were not told as "behind-waiting"`,
      wrong.map((start) => start.id),
    )
  }
  if (seen.repeats > 0) t.note(`${seen.repeats} repeats are behind-waiting`)
}

function isBehind(seen: Recorder, repeat: Start, sent: readonly Order[], partitions: number): boolean {
  const own = seen.of(repeat.id).find((start) => start.end === 'done')
  const at = sent.findIndex((order) => order.id === repeat.id)
  if (own === undefined || at < 0) return false
  const partition = partitionOfKey(repeat.key ?? '', partitions)
  for (let index = at - 1; index >= 0; index--) {
    const order = sent[index] as Order
    if (order.key === null || partitionOfKey(order.key, partitions) !== partition) continue
    const first = seen.of(order).find((start) => start.end === 'done')
    if (first !== undefined && first.member !== own.member && (first.endedAt ?? 0) > (own.endedAt ?? 0)) return true
  }
  return false
}

/** Everything of these was done; the rest that came was sent too, with an outcome that its sender does not know. */
export function nothingLost(t: Trial, seen: Recorder, stored: readonly Order[], sent: readonly Order[]): void {
  const missing = stored.filter((order) => !seen.of(order).some((start) => start.end === 'done'))
  if (missing.length > 0)
    t.fail(
      `${missing.length} of ${stored.length} stored orders were never done`,
      missing.map((order) => order.id),
    )
  const known = new Set(sent.map((order) => order.id))
  const strange = seen.starts.filter((start) => !known.has(start.id))
  if (strange.length > 0)
    t.fail(
      `${strange.length} came that nobody sent`,
      strange.map((start) => start.id),
    )
}

/** Copies beyond the first of each message that lie at the topic: what an unknown send that was repeated may leave. */
export async function extraCopies(auditor: Auditor, topic: string): Promise<number> {
  const stored = await auditor.read({ topic, role: 'main', group: null })
  return stored.length - new Set(stored.map((message) => message.id)).size
}

/** Ids of events of one kind, of those that name one or several. */
export function idsOf(t: Trial, name: string): readonly string[] {
  return t.events(name).flatMap(({ event }) => {
    const { id, ids } = event as { id?: string; ids?: readonly string[] }
    return ids ?? (id === undefined ? [] : [id])
  })
}
