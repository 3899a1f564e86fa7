import type { Size } from '../scenario.ts'

/** Sizes of a message's body, and how much of the messages of the smallest one are as much work. */
export const bodySizes = [
  { name: '100 B', bytes: 100, share: 1 },
  { name: '1 KB', bytes: 1024, share: 1 },
  { name: '16 KB', bytes: 16_384, share: 0.15 },
  { name: '64 KB', bytes: 65_536, share: 0.05 },
] as const

/** How much of a second's work a measurement is. */
export const workOf: Readonly<Record<Size, number>> = { quick: 0.2, usual: 0.5, full: 1 }

/** One of three by size. */
export const bySize = <T>(size: Size, quick: T, usual: T, full: T): T => ({ quick, usual, full })[size]
