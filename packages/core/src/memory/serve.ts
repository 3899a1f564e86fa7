// Handing messages out at the server, and taking their settlements.

import type { Delivery, Inspection, Outgoing, Page, Place, Received, SettleResult, Undecodable } from '../contract.ts'
import type { Cursor } from './cursor.ts'
import { fault } from './explain.ts'
import type { Ownership } from './group.ts'
import type { Entry, Log } from './log.ts'
import { slabOf } from './log.ts'
import type { Hub } from './store.ts'
import { acceptable, store, topicOf } from './store.ts'

class Token {
  readonly ownership: Ownership
  readonly cursor: Cursor
  readonly offset: number
  /** It counts among what its assignment holds, even if the log was cut above it meanwhile. */
  open = true

  constructor(ownership: Ownership, cursor: Cursor, offset: number) {
    this.ownership = ownership
    this.cursor = cursor
    this.offset = offset
  }
}

/** Of what `browse` lists. */
class Mark {
  readonly log: Log
  readonly entry: Entry

  constructor(log: Log, entry: Entry) {
    this.log = log
    this.entry = entry
  }
}

class Handed implements Delivery {
  readonly token: unknown
  readonly content: Received | Undecodable
  readonly parked: boolean
  readonly deliveries: number | null
  readonly #partition: number
  readonly #offset: number

  constructor(
    token: unknown,
    content: Received | Undecodable,
    parked: boolean,
    deliveries: number | null,
    partition: number,
    offset: number,
  ) {
    this.token = token
    this.content = content
    this.parked = parked
    this.deliveries = deliveries
    this.#partition = partition
    this.#offset = offset
  }

  position(): string | null {
    return this.#partition < 0 ? null : `${this.#partition}:${this.#offset}`
  }
}

/** What a handler gets is its own: it may change the body and the headers without spoiling the next attempt. */
function contentOf(entry: Entry, body: Buffer | null): Received | Undecodable {
  const { raw, headers, transport } = entry
  if (raw !== null) return { undecodable: raw.undecodable, body, headers: raw.headers === null ? null : { ...raw.headers } }
  return {
    id: entry.id,
    key: entry.key,
    body,
    time: entry.time,
    expiresAt: entry.expiresAt,
    attributes: entry.attributes,
    headers: headers === null ? null : { ...headers },
    transport: transport === null ? null : { ...transport },
  }
}

function handOut(hub: Hub, ownership: Ownership, cursor: Cursor, entries: readonly Entry[], into: Delivery[]): void {
  const { attempts, positions } = hub.settings.capabilities
  const counts = attempts === 'native'
  const partition = positions === 'native' ? cursor.log.partition : -1
  let total = 0
  for (const entry of entries) total += entry.length
  const slab = slabOf(total)
  let start = 0
  for (const entry of entries) {
    let body: Buffer | null = null
    if (entry.slab !== null) {
      const end = start + entry.length
      slab.set(entry.slab.length === entry.length ? entry.slab : entry.slab.subarray(entry.start, entry.start + entry.length), start)
      body = slab.subarray(start, end)
      start = end
    }
    const { offset } = entry
    const deliveries = counts ? cursor.deliveries(offset) : null
    into.push(new Handed(new Token(ownership, cursor, offset), contentOf(entry, body), cursor.parked, deliveries, partition, offset))
  }
}

const nothing: readonly Delivery[] = Object.freeze([])

/** The next deliveries of an assignment. If there are none, its reader is woken when there may be. */
export function take(hub: Hub, ownership: Ownership, max: number): readonly Delivery[] {
  if (ownership.over || ownership.leaving) return nothing
  const { group, bounds } = ownership.member
  if (!allowed(hub, 'read', ownership)) return nothing
  const { settlement, retention } = hub.settings.capabilities
  // A log with one position per group cannot tell what is out, so it bounds nothing: its client does.
  const bounded = settlement === 'each' || retention === 'queue'
  const room = bounded ? Math.min(max, bounds.maxUnsettled - ownership.held) : max
  if (room <= 0) {
    ownership.waiting = true
    return nothing
  }
  const { random } = hub.settings
  let want = random === null ? room : 1 + Math.floor(random() * room)
  if (group.shared !== null) want = Math.min(want, share(ownership))
  const deliveries: Delivery[] = []
  for (const cursor of ownership.cursors) {
    const left = want - deliveries.length
    if (left <= 0) break
    if (!cursor.available) continue
    const entries: Entry[] = []
    cursor.take(ownership.epoch, left, bounds.maxBytes, entries)
    if (entries.length > 0) handOut(hub, ownership, cursor, entries, deliveries)
  }
  ownership.held += deliveries.length
  if (deliveries.length === 0) ownership.waiting = true
  return deliveries
}

/** A fair part of a shared queue: nobody takes what others could do at the same time. */
function share(ownership: Ownership): number {
  let unsettled = 0
  for (const cursor of ownership.cursors) unsettled += cursor.log.end - cursor.low
  return Math.max(1, Math.ceil(unsettled / Math.max(1, ownership.member.group.members.length)))
}

/** Right to read or settle; a member that lost it is put out, and told why. */
function allowed(hub: Hub, operation: 'read' | 'settle', ownership: Ownership): boolean {
  const { group } = ownership.member
  try {
    hub.check(operation, group.topic)
    return true
  } catch (error) {
    group.end(ownership.member, error as Error)
    return false
  }
}

/** Settles, and stores the outputs with it: both or neither. */
export function settle(hub: Hub, ownership: Ownership, tokens: readonly unknown[], outputs: readonly Outgoing[] | undefined): SettleResult {
  const { group } = ownership.member
  if (ownership.over || !allowed(hub, 'settle', ownership)) {
    group.stale += tokens.length
    return 'stale'
  }
  const { capabilities } = hub.settings
  const { settlement, forward } = capabilities
  const { epoch } = ownership
  if (outputs !== undefined && outputs.length > 0) {
    if (!tokens.every((token) => token instanceof Token && token.ownership === ownership && token.cursor.holds(epoch, token.offset))) {
      group.stale += tokens.length
      // Whatever follows in the prefix would settle these too, without their outputs.
      if (capabilities.settlement === 'prefix') group.revoke(ownership)
      return 'stale'
    }
    if (forward !== 'atomic' || !acceptable(hub, outputs)) {
      offerAgain(hub, ownership, tokens)
      return 'unknown'
    }
    store(hub, outputs)
  }
  let result: SettleResult = 'settled'
  if (settlement === 'prefix') {
    const last = tokens[tokens.length - 1]
    if (last !== undefined && !(last instanceof Token && last.ownership === ownership && last.cursor.settleUpTo(epoch, last.offset)))
      result = 'stale'
    ownership.held = 0
    for (const cursor of ownership.cursors) ownership.held += cursor.held
  } else {
    for (const token of tokens) {
      if (!(token instanceof Token) || token.ownership !== ownership || !token.open) {
        result = 'stale'
        continue
      }
      token.open = false
      ownership.held--
      if (!token.cursor.settle(epoch, token.offset)) result = 'stale'
    }
  }
  if (result === 'stale') group.stale += tokens.length
  wakeIfReady(ownership)
  return result
}

/** Outputs were refused: the messages they belong to are handed out again. */
function offerAgain(hub: Hub, ownership: Ownership, tokens: readonly unknown[]): void {
  if (hub.settings.capabilities.settlement === 'prefix') {
    // A prefix has no holes to put something into: the assignment ends, and the next one starts at the position.
    ownership.member.group.revoke(ownership)
    return
  }
  for (const token of tokens) {
    if (!(token instanceof Token) || token.ownership !== ownership || !token.cursor.holds(ownership.epoch, token.offset)) continue
    token.cursor.giveBackOne(ownership.epoch, token.offset)
    token.open = false
    ownership.held--
  }
  wakeIfReady(ownership)
}

/** The client got no answer to a settlement. What was not settled comes again; a position is simply settled once more. */
export function clearDoubt(hub: Hub, ownership: Ownership, tokens: readonly unknown[], withOutputs: boolean): void {
  const last = tokens[tokens.length - 1]
  if (ownership.over || !(last instanceof Token)) return
  if (hub.settings.capabilities.settlement === 'each') offerAgain(hub, ownership, tokens)
  else if (!withOutputs) settle(hub, ownership, tokens, undefined)
  // Done or not: the client does not know, so it may settle nothing more here.
  else offerAgain(hub, ownership, tokens)
}

function wakeIfReady(ownership: Ownership): void {
  if (ownership.waiting && ownership.cursors.some((cursor) => cursor.available)) ownership.wake()
}

/** A page of a place, oldest first. `after` is a page's `next`. */
export function list(hub: Hub, place: Place, after: string | null, max: number): Page {
  hub.check('browse', place.topic)
  const logs = topicOf(hub, place.topic).logs(place)
  const native = hub.settings.capabilities.positions === 'native'
  const [first, from] = after === null ? [0, 0] : after.split(':').map(Number)
  if (first === undefined || from === undefined || !Number.isSafeInteger(first) || !Number.isSafeInteger(from)) {
    throw fault('INVALID_ARGUMENT', 'embedded broker: this is not the `next` of a page')
  }
  const entries: Delivery[] = []
  for (let index = first; index < logs.length; index++) {
    const log = logs[index] as Log
    for (let offset = Math.max(index === first ? from : 0, log.start); offset < log.end; offset++) {
      const entry = log.at(offset)
      if (entry === null) continue
      if (entries.length === max) return { entries, next: `${index}:${offset}` }
      const partition = native ? log.partition : -1
      entries.push(new Handed(new Mark(log, entry), contentOf(entry, entry.body()), place.role === 'retry', null, partition, offset))
    }
  }
  return { entries, next: null }
}

/** Removes what `list` gave. */
export function takeOut(hub: Hub, place: Place, entries: readonly Delivery[]): SettleResult {
  hub.check('remove', place.topic)
  const topic = topicOf(hub, place.topic)
  const dead = place.group === null ? undefined : topic.dead.get(place.group)
  let result: SettleResult = 'settled'
  for (const { token } of entries) {
    if (!(token instanceof Mark) || token.entry.gone) {
      result = 'stale'
      continue
    }
    const { slot } = token.entry
    token.log.drop(token.entry)
    if (slot !== null && dead?.slots.get(slot) === token.entry) dead.slots.delete(slot)
  }
  return result
}

/** How a group stands. */
export function look(hub: Hub, topicName: string, groupName: string): Inspection {
  hub.check('inspect', topicName)
  const declared = topicOf(hub, topicName).groups.get(groupName)
  if (declared === undefined) throw fault('NOT_FOUND', `embedded broker: topic "${topicName}" has no group "${groupName}"`)
  let backlog = 0
  let unsettled = 0
  for (const cursor of declared.group.cursors) {
    backlog += cursor.backlog
    unsettled += cursor.held
  }
  return { backlog, unsettled, members: declared.group.members.length }
}
