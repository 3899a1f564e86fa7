import type { Clause } from '../clause.ts'

/** The ERR clauses, in the order of the page. */
export const err: readonly Clause[] = [
  { id: 'ERR-1', title: 'A throw brings it back, counted', needs: 'memory' },
  { id: 'ERR-2', title: 'Any failure is a failure', needs: 'memory' },
  { id: 'ERR-3', title: 'Backoff keeps its times', needs: 'memory' },
  { id: 'ERR-4', title: 'Waiting costs no slot', needs: 'memory' },
  { id: 'ERR-5', title: 'Waits do not queue behind each other', needs: 'memory' },
  { id: 'ERR-6', title: 'After the last attempt, once to the dead letters', needs: 'memory' },
  { id: 'ERR-7', title: 'A crash between dead letter and settle loses nothing', needs: 'memory' },
  { id: 'ERR-8', title: 'No dead letter, no settle', needs: 'memory' },
  { id: 'ERR-9', title: 'Shutdown, rebalance and lost links are not attempts', needs: 'memory' },
  { id: 'ERR-10', title: 'A poison key stops only itself', needs: 'memory' },
  { id: 'ERR-11', title: 'Copies are never weaker', needs: 'memory' },
  { id: 'ERR-13', title: 'A first delivery is attempt 1', needs: 'memory' },
  { id: 'ERR-14', title: 'Mass failure loses nothing', needs: 'memory' },
  { id: 'ERR-15', title: 'Errors can skip the retries', needs: 'memory' },
  { id: 'ERR-16', title: 'What happens at the end is never silent', needs: 'memory' },
  { id: 'ERR-17', title: 'A last attempt still running is not dead-lettered', needs: 'memory' },
  { id: 'ERR-18', title: 'A message that kills its process ends', needs: 'memory' },
  { id: 'ERR-19', title: 'User code cannot break the machinery', needs: 'memory' },
  { id: 'ERR-20', title: 'Parking loses nothing', needs: 'memory' },
  { id: 'ERR-21', title: 'attempt is 1 + failures that are known', needs: 'memory' },
]
