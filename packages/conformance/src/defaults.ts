// Section 2's defaults for consumers and the keys of orders, for members in this process and in others.

import type { ConsumeOptions } from '@posthorn/core'

/** Group `workers`, concurrency 8, `maxUnsettled` 32, 3 attempts, 100 ms with factor 1. */
export function consumeOptions<Tx = undefined>(options: Partial<ConsumeOptions<Tx>> = {}): ConsumeOptions<Tx> {
  return {
    group: 'workers',
    concurrency: 8,
    maxUnsettled: 32,
    ...(options.settle === 'before' ? {} : { retry: { attempts: 3, firstDelayMs: 100, factor: 1 } }),
    ...options,
  }
}

/** `key-0`, `key-1` … */
export function keysOf(n: number): readonly string[] {
  return Array.from({ length: n }, (_, index) => `key-${index}`)
}
