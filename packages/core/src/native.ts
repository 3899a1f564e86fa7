/**
 * Adapters add themselves here, which types everything under `native` and the objects that `connect` takes:
 * `declare module '@posthorn/core' { interface Adapters { kafka: { connect: …; topic: …; consumer: …; client: … } } }`.
 */
// biome-ignore lint/suspicious/noEmptyInterface: filled by declaration merging
export interface Adapters {}

/** The options of each installed adapter for one part: `connect`, `topic` or `consumer`. */
export type Native<Part extends string> = {
  readonly [A in keyof Adapters]?: Adapters[A] extends { [P in Part]: infer O } ? O | undefined : never
}
