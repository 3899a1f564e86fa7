import type { Clause } from '../clause.ts'

/** The INT clauses, in the order of the page. */
export const int: readonly Clause[] = [
  { id: 'INT-1', title: 'They read ours', needs: 'language' },
  { id: 'INT-2', title: 'We read theirs', needs: 'language' },
  { id: 'INT-3', title: 'Structured mode is recognised', needs: 'memory' },
  { id: 'INT-4', title: 'A plain message is a message', needs: 'memory' },
  { id: 'INT-5', title: 'Native producers hit our partitions', needs: 'language' },
  { id: 'INT-6', title: 'Strict writer, lenient reader', needs: 'memory' },
  { id: 'INT-7', title: 'Edge vectors of the specification', needs: 'memory' },
  { id: 'INT-9', title: 'Old messages stay readable', needs: 'process' },
  { id: 'INT-10', title: 'Existing names continue where they stand', needs: 'memory' },
  { id: 'INT-11', title: 'A message without id gets a stable one', needs: 'memory' },
]
