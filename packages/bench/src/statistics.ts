/** Several runs of one measurement. */
export interface Spread {
  readonly median: number
  readonly lowest: number
  readonly highest: number
}

/** The median of these and how far they are apart. At least one. */
export function spreadOf(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (index: number): number => sorted[index] ?? Number.NaN
  const middle = sorted.length >> 1
  const median = sorted.length % 2 === 1 ? at(middle) : (at(middle - 1) + at(middle)) / 2
  return { median, lowest: at(0), highest: at(sorted.length - 1) }
}
