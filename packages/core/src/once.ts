/** Names one message for a `OnceStore`: the same id on another topic, from another source or for another group is another message. */
export interface OnceKey {
  readonly group: string
  readonly topic: string
  readonly source: string | undefined
  readonly id: string
}

/**
 * Recognises repeats. `once` runs `work` inside a transaction of yours and records the key in the same transaction:
 * both are visible afterwards, or neither. Where the key is recorded already it answers `repeat` and runs nothing.
 * Two calls with one key at the same time: one works, the other waits for it or answers `repeat`. Where `work`
 * rejects, the transaction is rolled back, nothing is recorded, and the rejection is passed on unchanged: failed attempts
 * and messages on their way to the dead letters leave no record, so that a retry or a replay runs.
 */
export interface OnceStore<Tx> {
  /** How long repeats are recognised, in milliseconds; undefined: for ever. */
  readonly windowMs?: number | undefined
  once(message: OnceKey, work: (tx: Tx) => Promise<void>): Promise<'done' | 'repeat'>
}
