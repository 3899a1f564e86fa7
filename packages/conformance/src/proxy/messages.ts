// What the suite and the proxy's process say to each other beside orders and state.

import type { WireModule } from '../wires/wire.ts'

/** To the proxy. `call` comes back with the answer. */
export type ToProxy =
  | {
      readonly kind: 'start'
      readonly call: number
      readonly folder: string
      readonly target: string
      readonly wire: WireModule | undefined
    }
  | { readonly kind: 'link'; readonly call: number }
  /** There are orders to read. */
  | { readonly kind: 'look' }
  /** Answered when the orders given so far are in force. */
  | { readonly kind: 'ready'; readonly call: number }
  | { readonly kind: 'close'; readonly call: number }

/** The answer to a call. */
export interface FromProxy {
  readonly call: number
  /** Of a link: its number in orders, and where it listens. */
  readonly link?: number
  readonly port?: number
  readonly error?: string
}

/** Names of files in the proxy's folder. */
export const ordersFile = 'orders'
/** One for each link. */
export const stateFile = (link: number): string => `link-${link}`
