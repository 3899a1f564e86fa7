import type { Gate } from './trial.ts'

/** Something handlers wait for until it is opened; once open it stays open. */
export function createGate(name: string): Gate {
  let open: () => void = () => {}
  const opened = new Promise<void>((resolve) => {
    open = resolve
  })
  let waiting = 0
  return {
    name,
    async wait() {
      waiting++
      await opened
      waiting--
    },
    open: () => open(),
    get waiting() {
      return waiting
    },
  }
}
