// Counts what arrived against what had to arrive. It knows the input and what was seen outside, and nothing of the library.
import type { AuditEntry } from '../audit-service.ts'
import type { Order } from '../topics.ts'
import type { TroublePlan } from './trouble.ts'

export type ServiceName = 'order' | 'email' | 'push' | 'audit' | 'inventory'

/** What was seen, each list in the order in which it was seen, repeats included. */
export interface Seen {
  /** Orders that the order service answered with 201. */
  readonly accepted: readonly string[]
  /** Orders whose mail the mail server kept. */
  readonly mailed: readonly string[]
  /** Orders whose call the push receiver accepted. */
  readonly pushed: readonly string[]
  readonly audited: readonly Pick<AuditEntry, 'what' | 'orderId'>[]
  readonly booked: readonly { readonly orderId: string; readonly late: boolean }[]
  /** Orders whose mail or call was turned away and asked for again later. */
  readonly retried: { readonly email: ReadonlySet<string>; readonly push: ReadonlySet<string> }
  /** Orders found among the dead letters before the fix. */
  readonly dead: { readonly email: readonly string[]; readonly push: readonly string[] }
  readonly replayed: { readonly email: number; readonly push: number }
  /**
   * Calls that the stopped push service said would come again: they had finished behind one that still waited for its next attempt,
   * and some servers take settlements only from the front.
   */
  readonly announced: number
}

/** A figure that a service does not have is left out. */
export interface Figures {
  readonly handled: number
  readonly retried?: number
  readonly dead?: number
  readonly replayed?: number
  readonly lost: number
  readonly twice: number
  readonly outOfOrder?: number
  /** Seen, though nobody ordered it. */
  readonly unknown: number
}
export interface Row extends Figures {
  readonly service: ServiceName
  readonly must: Figures
  /** The figures that are not what they must be. */
  readonly wrong: readonly (keyof Figures)[]
}

export function settle(orders: readonly Order[], trouble: TroublePlan, seen: Seen): readonly Row[] {
  const ids = orders.map(({ orderId }) => orderId)
  const customerOf = new Map(orders.map(({ orderId, userId }) => [orderId, userId]))
  const customer = (id: string) => customerOf.get(id) ?? ''
  const { email, push } = trouble
  const nobody: ReadonlySet<string> = new Set()

  // What the audit has to see of each order, in the order of each kind for itself.
  const facts = (what: AuditEntry['what']) => ids.map((id) => `${what} ${id}`)
  const factId = (fact: string) => fact.slice(fact.lastIndexOf(' ') + 1)
  const replayedFacts = new Set(
    [...email.always].map((id) => `told by email ${id}`).concat([...push.always].map((id) => `told by push ${id}`)),
  )
  const audited = count(
    [...facts('ordered'), ...facts('told by email'), ...facts('told by push')],
    seen.audited.map(({ what, orderId }) => `${what} ${orderId}`),
    (fact) => `${fact.slice(0, fact.lastIndexOf(' '))} ${customer(factId(fact))}`,
    replayedFacts,
  )
  const booked = count(
    ids,
    seen.booked.map(({ orderId }) => orderId),
    customer,
    nobody,
  )
  const late = seen.booked.filter((sale) => sale.late).length
  const { outOfOrder: _, ...accepted } = count(ids, seen.accepted, customer, nobody)

  const right = (handled: number) => ({ handled, lost: 0, twice: 0, unknown: 0 })
  // What was announced may come again, and no more than that.
  const again = (twice: number) => ({ twice: Math.min(twice, seen.announced) })
  const notified = (kind: 'email' | 'push', arrived: readonly string[], retried: number) => {
    const counted = count(ids, arrived, customer, trouble[kind].always)
    return row(
      kind,
      {
        ...counted,
        retried: seen.retried[kind].size,
        dead: seen.dead[kind].length,
        replayed: seen.replayed[kind],
      },
      {
        ...right(ids.length),
        ...(kind === 'push' ? again(counted.twice) : {}),
        retried,
        dead: trouble[kind].always.size,
        replayed: trouble[kind].always.size,
        outOfOrder: 0,
      },
      // As many dead letters as there must be, but other ones, are wrong too.
      seen.dead[kind].some((id) => !trouble[kind].always.has(id)) ? ['dead'] : [],
    )
  }

  return [
    row('order', accepted, right(ids.length)),
    notified('email', seen.mailed, email.once.size),
    // A full mailbox is given up at once; a push call that fails for whatever reason is tried again first.
    notified('push', seen.pushed, push.once.size + push.always.size),
    row('audit', audited, { ...right(3 * ids.length), ...again(audited.twice), outOfOrder: 0 }),
    row('inventory', { ...booked, outOfOrder: Math.max(booked.outOfOrder, late) }, { ...right(ids.length), outOfOrder: 0 }),
  ]
}

function row(service: ServiceName, figures: Figures, must: Figures, alsoWrong: readonly (keyof Figures)[] = []): Row {
  const names = Object.keys(must) as (keyof Figures)[]
  const wrong = new Set([...names.filter((name) => figures[name] !== must[name]), ...alsoWrong])
  return { service, ...figures, must, wrong: [...wrong] }
}

/** Compares what arrived with what was expected. Inside a lane the order counts, except for what was replayed later. */
export function count(
  expected: readonly string[],
  arrived: readonly string[],
  laneOf: (id: string) => string,
  replayed: ReadonlySet<string>,
): { handled: number; lost: number; twice: number; outOfOrder: number; unknown: number } {
  const place = new Map(expected.map((id, index) => [id, index]))
  const met = new Set<string>()
  const furthest = new Map<string, number>()
  let twice = 0
  let outOfOrder = 0
  let unknown = 0
  for (const id of arrived) {
    const index = place.get(id)
    if (index === undefined) unknown++
    else if (met.has(id)) twice++
    else {
      met.add(id)
      if (replayed.has(id)) continue
      const lane = laneOf(id)
      const before = furthest.get(lane) ?? -1
      if (index < before) outOfOrder++
      furthest.set(lane, Math.max(before, index))
    }
  }
  return { handled: met.size, lost: place.size - met.size, twice, outOfOrder, unknown }
}
