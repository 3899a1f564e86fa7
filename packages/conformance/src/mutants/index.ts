import type { Mutant } from './mutant.ts'
import { settling } from './settling.ts'
import { suite } from './suite.ts'

/** Every planted bug, by group. */
export const allMutants: readonly Mutant[] = [...settling, ...suite]
