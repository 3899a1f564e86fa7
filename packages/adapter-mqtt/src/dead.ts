// Dead letters are retained messages, one each: read in pages without taking anything out, removed one by one. The server gives them
// in no order, so a page is chosen among all of them by the time that stands in their names.

import { check, type Delivery, type Page, type Place, type SettleResult } from '@posthorn/core/adapter'
import type { IPublishPacket } from 'mqtt'
import type { Core } from './core.ts'
import { decode } from './decode.ts'
import { explain, refusal } from './explain.ts'
import { deadIn, deadTopic, folder } from './layout.ts'

/** What `remove` needs to know of an entry: a newer one of its slot has another topic. */
interface DeadToken {
  readonly topic: string
  /** Of the same slot, by the clocks of those who wrote them: replaced by it, and gone with it. */
  readonly older: readonly string[]
}

const nothing = Buffer.alloc(0)
const mostAtOnce = 500

/** One page of a group's dead letters, oldest first. */
export async function browse(core: Core, place: Place, after: string | null, max: number): Promise<Page> {
  if (place.role !== 'dead' || place.group === null)
    throw check.invalid(`cannot browse the ${place.role} place of "${place.topic}"`, 'only dead letters are browsed')
  const count = Math.min(mostAtOnce, Math.max(1, max))
  const newest = new Map<string, string>()
  const older = new Map<string, string[]>()
  let page: IPublishPacket[] = []
  const orderOf = (topic: string): string => {
    const { stamp, slot } = deadIn(topic)
    return `${stamp}/${slot}`
  }
  const trim = (): void => {
    page = page.filter(({ topic }) => newest.get(deadIn(topic).slot) === topic)
    page.sort((a, b) => (orderOf(a.topic) < orderOf(b.topic) ? -1 : 1))
    page.length = Math.min(page.length, count + 1)
  }
  await core.records.read([`${folder(place)}/#`], (packet) => {
    const { topic } = packet
    const { slot, stamp } = deadIn(topic)
    const known = newest.get(slot)
    if (known === topic) return
    const isOlder = known !== undefined && deadIn(known).stamp > stamp
    if (known !== undefined) older.set(slot, [...(older.get(slot) ?? []), isOlder ? topic : known])
    if (isOlder) return
    newest.set(slot, topic)
    if (after !== null && orderOf(topic) <= after) return
    page.push(packet)
    if (page.length > count * 2 + 64) trim()
  })
  trim()
  const more = page.length > count
  const entries = page.slice(0, count)
  const last = entries.at(-1)
  return {
    entries: entries.map((packet) => deliveryOf(packet, older.get(deadIn(packet.topic).slot) ?? [])),
    next: more && last !== undefined ? orderOf(last.topic) : null,
  }
}

function deliveryOf(packet: IPublishPacket, older: readonly string[]): Delivery {
  const token: DeadToken = { topic: packet.topic, older: older.filter((topic) => topic !== packet.topic) }
  return { token, content: decode(packet), parked: false, deliveries: null, position: () => null }
}

/** Removes entries that `browse` gave, with what they replaced; an entry that was replaced meanwhile is another one and stays. */
export async function remove(core: Core, place: Place, entries: readonly Delivery[]): Promise<SettleResult> {
  if (entries.length === 0) return 'settled'
  const tokens = entries.map(({ token }) => token as DeadToken)
  const all = new Set(tokens.flatMap(({ topic, older }) => [topic, ...older]))
  const slots = new Set(tokens.map(({ topic }) => deadIn(topic).slot))
  const newest = new Map<string, string>()
  const { wire } = core.main
  if (wire === null) return 'unknown'
  try {
    // MQTT does not say whether there was something to remove, or whether it was replaced meanwhile, so it is looked at before.
    const filters = [...slots].map((slot) => deadTopic(place, slot, '+'))
    await core.records.read(filters, ({ topic }) => {
      const { slot, stamp } = deadIn(topic)
      if (stamp > deadIn(newest.get(slot) ?? '').stamp) newest.set(slot, topic)
    })
    const reasons = await Promise.all([...all].map((topic) => wire.store(topic, nothing, { retain: true })))
    const bad = reasons.find((reason) => reason >= 0x80)
    if (bad !== undefined) throw refusal(`cannot remove dead letters of "${place.topic}"`, bad)
    return tokens.every(({ topic }) => newest.get(deadIn(topic).slot) === topic) ? 'settled' : 'stale'
  } catch (error) {
    // What is refused for good is said so; a lost answer is not known.
    if (explain(error).outcome === 'failed') throw error
    return 'unknown'
  }
}
