import type { Clause } from '../clause.ts'

/** The ORD clauses, in the order of the page. */
export const ord: readonly Clause[] = [
  { id: 'ORD-1', title: 'Per key, in order', needs: 'memory' },
  { id: 'ORD-2', title: 'One handler per key at a time', needs: 'memory' },
  { id: 'ORD-3', title: 'Retry keeps the key\'s order', needs: 'memory' },
  { id: 'ORD-4', title: 'Replay after a crash is contiguous', needs: 'memory' },
  { id: 'ORD-5', title: 'Order holds over a rebalance', needs: 'memory' },
  { id: 'ORD-6', title: 'Awaited sends are stored in order', needs: 'memory' },
  { id: 'ORD-7', title: 'Un-awaited sends of a key keep their order', needs: 'memory' },
  { id: 'ORD-8', title: 'No key is not the empty key', needs: 'memory' },
  { id: 'ORD-9', title: 'A key stays in its partition', needs: 'memory' },
  { id: 'ORD-10', title: 'A repeated unknown keeps its key\'s order', needs: 'memory' },
]
