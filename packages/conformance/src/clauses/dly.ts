import type { Clause } from '../clause.ts'

/** The DLY clauses, in the order of the page. */
export const dly: readonly Clause[] = [
  { id: 'DLY-1', title: 'Not early, not late', needs: 'memory' },
  { id: 'DLY-2', title: 'Shorter overtakes longer', needs: 'memory' },
  { id: 'DLY-3', title: 'Delays survive restarts', needs: 'memory' },
  { id: 'DLY-4', title: 'Moving from delayed to ready is safe', needs: 'memory' },
  { id: 'DLY-5', title: 'Bounds are refused, not bent', needs: 'memory' },
  { id: 'DLY-6', title: 'Many waiting messages are cheap', needs: 'memory' },
  { id: 'DLY-8', title: 'Expired is not handled', needs: 'memory' },
  { id: 'DLY-9', title: 'A clock step moves only what is wall-clock time', needs: 'memory' },
  { id: 'DLY-10', title: 'A delayed message enters its topic once, a parked one never', needs: 'memory' },
]
