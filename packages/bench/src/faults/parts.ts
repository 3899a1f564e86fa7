// What the processes of a fault run tell each other. Plain data.

/** One part of an application: the one that sets it up, the one that sends, or the one that handles. */
export type Part = DeclarerPart | SenderPart | ConsumerPart

interface Common {
  readonly broker: string
  readonly client: string
  readonly url: string
  readonly topic: string
  readonly keyed: boolean
}
/** Sends message after message on a schedule until it is told that it is enough. */
export interface SenderPart extends Common {
  readonly role: 'sender'
  /** When message 0 is due, by the clock that all processes share, and how many there are a second. */
  readonly since: number
  readonly perSecond: number
  /** Messages that an earlier process did not get confirmed; behind the last of them, and of `from`, everything is new. */
  readonly again: readonly number[]
  readonly from: number
}
/** Makes the topic and its group. */
export interface DeclarerPart extends Common {
  readonly role: 'declarer'
}
/** Handles what there is. */
export interface ConsumerPart extends Common {
  readonly role: 'consumer'
}

/** What a part is told: a sender to send no more, a consumer to end well. */
export type Order = 'enough'

/** What a part tells. */
export type News =
  | { readonly ready: true }
  | { readonly called: number }
  | { readonly confirmed: number }
  | { readonly handled: number; readonly at: number }
  | { readonly ended: { readonly processorMs: number; readonly rssBytes: number } }
