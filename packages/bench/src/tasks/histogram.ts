import type { Latency } from '../compare/task.ts'

// Each class is so much wider than the one before: quantiles read from it are right within two in a hundred.
const growth = 1.02
const least = 0.001

/** The figures of so many delays, in milliseconds. */
export function latencyOf(delays: readonly number[], fromCall: readonly number[]): Latency {
  const sorted = [...delays].sort((a, b) => a - b)
  return {
    p50: quantile(sorted, 0.5),
    p95: quantile(sorted, 0.95),
    p99: quantile(sorted, 0.99),
    p999: quantile(sorted, 0.999),
    worst: sorted.at(-1) ?? Number.NaN,
    p50OfCall: quantile(
      [...fromCall].sort((a, b) => a - b),
      0.5,
    ),
    negative: sorted.filter((delay) => delay < 0).length,
    histogram: histogramOf(delays),
  }
}

/** The value below which this share of the sorted values lies. */
export const quantile = (sorted: readonly number[], share: number): number =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN

/** How many of these lie in each class: its upper bound and its count, smallest first, empty classes left out. */
export function histogramOf(delays: readonly number[]): [number, number][] {
  const counts = new Map<number, number>()
  for (const delay of delays) {
    const index = Math.max(0, Math.ceil(Math.log(Math.max(delay, least) / least) / Math.log(growth)))
    counts.set(index, (counts.get(index) ?? 0) + 1)
  }
  return [...counts].sort(([a], [b]) => a - b).map(([index, count]) => [Number((least * growth ** index).toPrecision(5)), count])
}
