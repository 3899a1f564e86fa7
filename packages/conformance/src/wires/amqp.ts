import type { Operation } from '../harness.ts'
export interface AmqpWireOptions {
  readonly methods?: Readonly<Record<string, Operation>>
}
