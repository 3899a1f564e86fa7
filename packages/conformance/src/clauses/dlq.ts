import type { Clause } from '../clause.ts'

/** The DLQ clauses, in the order of the page. */
export const dlq: readonly Clause[] = [
  { id: 'DLQ-1', title: 'List counts and consumes nothing', needs: 'memory' },
  { id: 'DLQ-2', title: 'An entry tells everything', needs: 'memory' },
  { id: 'DLQ-3', title: 'Replay goes to the group that failed, and to no other', needs: 'memory' },
  { id: 'DLQ-4', title: 'Replay is loop-safe and repeatable', needs: 'memory' },
  { id: 'DLQ-5', title: 'A crash in a replay loses nothing', needs: 'memory' },
  { id: 'DLQ-6', title: 'Purge removes what was asked', needs: 'memory' },
  { id: 'DLQ-7', title: 'Groups have their own dead letters', needs: 'memory' },
  { id: 'DLQ-8', title: 'Entries by the broker itself are readable', needs: 'memory' },
  { id: 'DLQ-9', title: 'A replay cannot be steered', needs: 'memory' },
  { id: 'DLQ-10', title: 'The command line says the same', needs: 'process' },
  { id: 'DLQ-11', title: 'What is chosen must be said', needs: 'memory' },
]
