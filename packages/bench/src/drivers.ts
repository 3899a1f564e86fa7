import type { Driver } from './driver.ts'
import { memoryDriver } from './drivers/memory.ts'

/** Every broker that can be named on the command line. */
export const drivers: readonly Driver[] = [memoryDriver]
