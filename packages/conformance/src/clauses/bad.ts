import type { Clause } from '../clause.ts'

/** The BAD clauses, in the order of the page. */
export const bad: readonly Clause[] = [
  { id: 'BAD-1', title: 'A bad message harms no neighbour', needs: 'memory' },
  { id: 'BAD-2', title: 'Many bad ones do not fill the window', needs: 'memory' },
  { id: 'BAD-3', title: 'Foreign shapes are data', needs: 'memory' },
  { id: 'BAD-4', title: 'The dead letter holds the original bytes', needs: 'memory' },
  { id: 'BAD-5', title: 'Schema violations are not retried', needs: 'memory' },
  { id: 'BAD-6', title: 'A foreign giant is bounded', needs: 'memory' },
  { id: 'BAD-7', title: 'Nobody\'s message is not acked away', needs: 'memory' },
  { id: 'BAD-8', title: 'Broken frames end the connection, not the truth', needs: 'network' },
  { id: 'BAD-9', title: 'Empty deliveries are not messages', needs: 'memory' },
]
