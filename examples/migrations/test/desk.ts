// Where the mails of a service arrive, and where it is caught in the middle of its work.
import type { Order, SendMail } from '../src/orders.ts'

export interface Desk {
  /** In the order in which handlers began. */
  readonly mailed: readonly Order[]
  readonly sendMail: SendMail
  /** Waits until the given number of mails was begun; those handlers and later ones hang until `stop` has been called, and then end well. */
  caught(stop: () => Promise<void>): Promise<void>
}

/** `count`: the mail that the service is caught at. */
export function openDesk(count: number): Desk {
  const mailed: Order[] = []
  let reach = (): void => {}
  let go = (): void => {}
  const reached = new Promise<void>((resolve) => {
    reach = resolve
  })
  const released = new Promise<void>((resolve) => {
    go = resolve
  })
  return {
    mailed,
    async sendMail(order) {
      mailed.push(order)
      if (mailed.length < count) return
      reach()
      await released
    },
    async caught(stop) {
      await reached
      const stopping = stop()
      go()
      await stopping
    },
  }
}
