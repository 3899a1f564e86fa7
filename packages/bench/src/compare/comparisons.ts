import type { Comparison } from './comparison.ts'
import { latency } from './latency-rows.ts'
import { slow } from './slow.ts'
import { throughput } from './throughput.ts'

/** Every comparison by the name that `--only` takes, in the order of the report. */
export const comparisons: Readonly<Record<string, Comparison>> = { throughput, slow, latency }
