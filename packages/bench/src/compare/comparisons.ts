import type { Comparison } from './comparison.ts'
import { fanOut } from './fan-out.ts'
import { faults } from './faults.ts'
import { latency } from './latency.ts'
import { atShares, saturation } from './saturation.ts'
import { slow } from './slow.ts'
import { throughput } from './throughput.ts'
import { yardstick } from './yardstick.ts'

/** Every comparison, in the order of the report. */
export const comparisons: readonly Comparison[] = [throughput, latency, saturation, atShares, slow, fanOut, faults, yardstick]
