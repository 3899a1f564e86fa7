/** Where a value stands on an axis, and where its lines are. */
export interface Scale {
  at(value: number): number
  readonly ticks: readonly number[]
}

/** From 0 to a round number above the largest. */
export function linear(values: readonly number[], from: number, to: number): Scale {
  const largest = Math.max(...values, 0) || 1
  const step = roundStep(largest / 4)
  const end = Math.ceil(largest / step) * step
  const ticks = Array.from({ length: Math.round(end / step) + 1 }, (_, index) => index * step)
  return { at: (value) => from + ((to - from) * value) / end, ticks }
}

/** From the power of ten below the smallest to the one above the largest; what is 0 or less stands at the left end. */
export function logarithmic(values: readonly number[], from: number, to: number): Scale {
  const positive = values.filter((value) => value > 0)
  const low = Math.floor(Math.log10(Math.min(...positive, 1e9)))
  const smallest = positive.length === 0 ? 0 : low
  const largest = positive.length === 0 ? 1 : Math.max(smallest + 1, Math.ceil(Math.log10(Math.max(...positive))))
  const ticks = Array.from({ length: largest - smallest + 1 }, (_, index) => 10 ** (smallest + index))
  return {
    at: (value) => from + ((to - from) * (Math.log10(Math.max(value, 10 ** smallest)) - smallest)) / (largest - smallest),
    ticks,
  }
}

function roundStep(least: number): number {
  const power = 10 ** Math.floor(Math.log10(least))
  return ([1, 2, 2.5, 5, 10].find((factor) => factor * power >= least) ?? 10) * power
}
