import type { Clause } from '../clause.ts'
import { commandLineSaysTheSame } from './dlq-command-line.ts'
import { chosenMustBeSaid, listConsumesNothing, ownDeadLetters, purges, tellsEverything } from './dlq-list.ts'
import { newerEntryStays } from './dlq-replaced.ts'
import { cannotBeSteered, crashInReplay, loopSafe, readableFromOthers, toThatGroupOnly } from './dlq-replay.ts'

/** The DLQ clauses, in the order of the page. */
export const dlq: readonly Clause[] = [
  { id: 'DLQ-1', title: 'List counts and consumes nothing', needs: 'memory', run: listConsumesNothing },
  { id: 'DLQ-2', title: 'An entry tells everything', needs: 'memory', run: tellsEverything },
  { id: 'DLQ-3', title: 'Replay goes to the group that failed, and to no other', needs: 'memory', run: toThatGroupOnly },
  { id: 'DLQ-4', title: 'Replay is loop-safe and repeatable', needs: 'memory', run: loopSafe },
  { id: 'DLQ-5', title: 'A crash in a replay loses nothing', needs: 'memory', run: crashInReplay },
  { id: 'DLQ-6', title: 'Purge removes what was asked', needs: 'memory', run: purges },
  { id: 'DLQ-7', title: 'Groups have their own dead letters', needs: 'memory', run: ownDeadLetters },
  { id: 'DLQ-8', title: 'Entries by the broker itself are readable', needs: 'memory', run: readableFromOthers },
  { id: 'DLQ-9', title: 'A replay cannot be steered', needs: 'memory', run: cannotBeSteered },
  {
    id: 'DLQ-10',
    title: 'The command line says the same',
    needs: 'memory',
    run: commandLineSaysTheSame,
  },
  { id: 'DLQ-11', title: 'What is chosen must be said', needs: 'memory', run: chosenMustBeSaid },
  { id: 'DLQ-12', title: 'A newer entry stays', needs: 'memory', run: newerEntryStays },
]
