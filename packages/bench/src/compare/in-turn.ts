import type { Work } from '../messages.ts'

/** Sends one after the other, each awaited: what a naive client does under load, too. */
export const inTurn =
  (send: (work: Work) => Promise<void>) =>
  async (count: number, make: (n: number) => Work): Promise<void> => {
    for (let n = 0; n < count; n++) await send(make(n))
  }
